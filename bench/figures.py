"""Medians, spreads and ratios of what was measured, and how they stand to the aims."""
import dataclasses
import statistics
from typing import Callable, Iterable

from loads import Run, cores
from peers import DIRECT, HAPROXY, MUX, NGINX, PROXY

FULL = 0.9  # of a core: a single-threaded program cannot do much more
FLAT = 1.25  # of the cost with 20 sessions: called flat
QUIET = 0.1  # of the cores, used by others: more and the figures are not to be believed
P50 = 0
Pick = Callable[[Run], float]


def rate(run: Run) -> float:
    return run.rate


def cost(run: Run) -> float:
    return run.cpu_ms


def median(runs: Iterable[Run], pick: Pick) -> float:
    return statistics.median(pick(run) for run in runs)


def spread(runs: list[Run]) -> float:
    """From the slowest to the fastest round, as a part of the median."""
    rates = [run.rate for run in runs]
    return (max(rates) - min(rates)) / statistics.median(rates)


def ratio(work: dict[str, list[Run]], name: str, base: str, pick: Pick) -> float | None:
    """The median of the rounds' ratios: what both met in a round falls out."""
    runs, others = work.get(name), work.get(base)
    if not runs or not others or len(runs) != len(others) or not all(map(pick, others)):
        return None
    return statistics.median(pick(run) / pick(other) for run, other in zip(runs, others))


def limit(runs: list[Run]) -> str:
    """Which end of the bench, itself of one thread, kept this from being faster."""
    source = median(runs, lambda run: run.source_share)
    sink = median(runs, lambda run: run.sink_share)
    found = []
    if source >= FULL:
        found.append(f"generator {source:.0%}")
    if sink >= FULL:
        found.append(f"sink {sink:.0%}")
    return ", ".join(found)


def all_runs(results: dict) -> Iterable[Run]:
    """Wherever they are."""
    for value in results.values():
        if isinstance(value, dict):
            yield from all_runs(value)
        elif isinstance(value, list):
            yield from (run for run in value if isinstance(run, Run))


def busy_part(results: dict) -> float:
    """Of all runs, those in which no core had time left."""
    busy = [run.machine_share >= FULL * cores() for run in all_runs(results)]
    return sum(busy) / len(busy) if busy else 0.0


def disturbance(results: dict) -> tuple[float, float]:
    """The cores that others used, in the middle and at the most."""
    others = sorted(run.others_share for run in all_runs(results))
    return (others[len(others) // 2], others[-1]) if others else (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Aim:
    face: str
    what: str
    figure: Callable[[dict], float | None]
    bound: float | Callable[[dict], float | None]
    at_least: bool = False
    unit: str = ""

    def judge(self, results: dict) -> tuple[str, str, str]:
        """The aim, the figure, and met or not."""
        bound = self.bound(results) if callable(self.bound) else self.bound
        figure = self.figure(results)
        word = "at least" if self.at_least else "at most"
        aim = f"{word} {show(bound)}{self.unit}" if bound is not None else "–"
        if figure is None or bound is None:
            return aim, "–", "not measured"
        met = figure >= bound if self.at_least else figure <= bound
        return aim, f"{show(figure)}{self.unit}", "met" if met else "**not met**"


def show(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.2f}"


def against(work: str, name: str, base: str, pick: Pick = rate):
    return lambda results: ratio(results.get(work, {}), name, base, pick)


def added(name: str, kind: str, at: int = P50):
    """Microseconds that a message of one session takes longer than without a proxy."""
    def figure(results: dict) -> float | None:
        latency = results.get("latency", {})
        try:
            return latency[name][kind][at] - latency[DIRECT][kind][at]
        except KeyError:
            return None
    return figure


def idle_kb(name: str, kind: str = "plain"):
    return lambda results: results.get("idle", {}).get(name, {}).get(kind)


def flatness(name: str):
    """The cost of a message with the most sessions, as a part of that with the fewest."""
    def figure(results: dict) -> float | None:
        runs = [step[name] for step in results.get("sessions", {}).values() if name in step]
        return median(runs[-1], cost) / median(runs[0], cost) if len(runs) > 1 else None
    return figure


def lost_of_all(results: dict) -> float | None:
    return results.get("idle", {}).get("at once", {}).get("failed")


def far_ratio(results: dict) -> float | None:
    """Of the usual case, one message at a time: the worse of the two applications."""
    return max((row["ratio"] for what, row in results.get("far", {}).items()
                if "one at a time" in what), default=None)


def aims_of(face: str, rows: Iterable[tuple]) -> tuple[Aim, ...]:
    return tuple(Aim(face, *row) for row in rows)


def common_aims(face: str) -> tuple[Aim, ...]:
    return aims_of(face, (
        ("W3 messages/s, of HAProxy", against("W3", face, HAPROXY), 1.0, True),
        ("W4 messages/s, of HAProxy", against("W4", face, HAPROXY), 1.0, True),
        ("TLS W1 messages/s, of HAProxy", against("TLS", face, HAPROXY), 1.1, True),
        ("latency added, kept: nginx's", added(face, "kept"), added(NGINX, "kept"), False, " µs"),
        ("latency added, new: nginx's", added(face, "new"), added(NGINX, "new"), False, " µs"),
        ("CPU per message, 5,000 sessions / 20: flat", flatness(face), FLAT),
    ))


AIMS = (
    *aims_of(MUX, (
        ("W1 messages/s, of no proxy", against("W1", MUX, DIRECT), 0.9, True),
        ("W1 messages/s, of HAProxy", against("W1", MUX, HAPROXY), 1.7, True),
        ("W2 messages/s, of HAProxy", against("W2", MUX, HAPROXY), 1.1, True),
        ("W2 CPU per message, of HAProxy", against("W2", MUX, HAPROXY, cost), 0.8),
    )),
    *common_aims(MUX),
    *aims_of(MUX, (
        ("idle session", idle_kb(MUX), 2.0, False, " KB"),
        ("provider 20 ms away, TLS: time of a message, of the direct one", far_ratio, 0.6),
    )),
    *aims_of(PROXY, (
        ("W1 messages/s, of HAProxy", against("W1", PROXY, HAPROXY), 1.0, True),
        ("W2 messages/s, of HAProxy", against("W2", PROXY, HAPROXY), 1.0, True),
        ("W2 CPU per message, of HAProxy", against("W2", PROXY, HAPROXY, cost), 1.0),
    )),
    *common_aims(PROXY),
    *aims_of(PROXY, (
        ("idle session, upstream open", idle_kb(PROXY), 3.3, False, " KB"),
        ("idle session, TLS on one side", idle_kb(PROXY, "TLS"), 12.0, False, " KB"),
        ("of 9,900 sessions at once, those that failed", lost_of_all, 0.0),
    )),
)
