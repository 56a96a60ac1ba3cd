"""What is measured: each work runs all its proxies in turn, round by round, so that what else the
machine does falls on all alike."""
import dataclasses
import pathlib
import signal
import statistics
import sys
import tempfile
from typing import Iterable

import idle
import peers
from loads import AUTH, Run, Setup, Work
from peers import BY_NAME, DIRECT, PROXY, Place
from processes import Program, free_port

SMALL, MIDDLE, LARGE = 4096, 102_400, 5_242_880

MESSAGES = (
    Work("W1", "4 KB, one message per connection", SMALL, sink="smtp-sink", source="smtp-source"),
    Work("W2", "4 KB, connections kept", SMALL, kept=True, sink="smtp-sink", source="smtp-source"),
    Work("W3", "100 KB, connections kept", MIDDLE, kept=True, source="smtp-source"),
    Work("W4", "5 MB, connections kept", LARGE, kept=True, source="smtp-source"),
    Work("TLS", "W1 with a full TLS 1.3 handshake each, ECDSA P-256", SMALL, tls=True),
    Work("TLS resumed", "W1 with a resumed TLS session each", SMALL, tls=True, options=("resume",)),
    Work("AUTH new", "4 KB, one message per connection, AUTH PLAIN on each", SMALL, options=AUTH),
    Work("AUTH kept", "4 KB, connections kept, AUTH PLAIN once on each", SMALL, kept=True, options=AUTH),
)
SESSIONS = tuple(Work(f"{count} sessions", f"4 KB, {count:,} connections kept", SMALL, count, kept=True)
                 for count in (20, 200, 2000, 5000))
ONE = {"kept": Work("latency kept", "one session, its connection kept", SMALL, 1, kept=True),
       "new": Work("latency new", "one message per connection, one at a time", SMALL, 1)}
# A proxy that relays octets has the credentials of the sink; of those that check them, ours.
WITH_AUTH = (DIRECT, peers.HAPROXY, peers.MUX, PROXY)
ALL_SESSIONS = 9900
LEAST_IDLE = 60
SESSIONS_ROUNDS = 3  # thousands of sessions take their time to come


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much of all is measured."""
    names: tuple[str, ...]
    quick: bool
    rounds: int
    seconds: float  # of a run
    folder: str


def complain(name: str, error: Exception) -> None:
    print(f"{name}: {error}", file=sys.stderr)


def start_all(plan: Plan, names: Iterable[str], sink: str, tls: bool) -> dict[str, Setup]:
    setups = {}
    try:
        for name in names:
            try:
                setups[name] = Setup(BY_NAME[name], sink, plan.folder, tls)
            except (RuntimeError, OSError, KeyError) as error:
                complain(name, error)
    except BaseException:
        stop_all(setups)
        raise
    return setups


def stop_all(setups: dict[str, Setup]) -> None:
    for setup in setups.values():
        setup.stop()


def rounds_of(plan: Plan, setups: dict[str, Setup], work: Work) -> dict[str, list[Run]]:
    """Warm-ups first; then each proxy in turn, as often as the plan says. A proxy that fails leaves."""
    counts, runs = {}, {}

    def attempt(name, measure):
        try:
            return measure(setups[name])
        except (RuntimeError, OSError, ValueError) as error:
            complain(f"{work.name}, {name}", error)
            setups.pop(name).stop()
            runs.pop(name, None)
            return None

    for name in list(setups):
        counts[name] = attempt(name, lambda setup: setup.calibrate(work, plan.seconds))
    for _ in range(plan.rounds):
        for name in list(setups):
            run = attempt(name, lambda setup: setup.run(work, counts[setup.peer.name]))
            if run is not None:
                runs.setdefault(name, []).append(run)
    return runs


def names_for(plan: Plan, work: Work) -> tuple[str, ...]:
    names = plan.names
    if work.tls:
        names = tuple(name for name in names if name != DIRECT)
    if work.options == AUTH:
        names = tuple(name for name in names if name in WITH_AUTH)
    return names


def run_messages(plan: Plan, work: Work) -> dict[str, list[Run]]:
    setups = start_all(plan, names_for(plan, work), work.sink, work.tls)
    try:
        return rounds_of(plan, setups, work)
    finally:
        stop_all(setups)


def run_sessions(plan: Plan) -> dict[str, dict[str, list[Run]]]:
    """The same proxies, started once, with more and more sessions."""
    plan = dataclasses.replace(plan, rounds=min(plan.rounds, SESSIONS_ROUNDS))
    setups = start_all(plan, [name for name in plan.names if BY_NAME[name].many], "plain_sink", False)
    try:
        return {str(work.sessions): rounds_of(plan, setups, work) for work in SESSIONS}
    finally:
        stop_all(setups)


def run_latency(plan: Plan) -> dict[str, dict[str, tuple[float, ...]]]:
    """Microseconds of a message, p50, p99 and p99.9: medians over the rounds."""
    results: dict[str, dict[str, tuple[float, ...]]] = {}
    setups = start_all(plan, plan.names, "plain_sink", False)
    try:
        for kind, work in ONE.items():
            for name, runs in rounds_of(plan, setups, work).items():
                at = zip(*(run.latency_us[:3] for run in runs))
                results.setdefault(name, {})[kind] = tuple(statistics.median(us) for us in at)
    finally:
        stop_all(setups)
    return results


def idle_octets(plan: Plan, name: str, tls: bool, sessions: int) -> float:
    """What an idle session costs this proxy."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=plan.folder))
    folder.chmod(0o755)
    upstream, proxy = idle.Upstream(), None
    try:
        place = Place(folder, free_port(), upstream.port, idle.make_certificate(folder) if tls else None)
        command, env = BY_NAME[name].start(place)
        proxy = Program(name, command, folder / "proxy.log", env)
        proxy.wait_port(place.port, tls)
        octets, failed = idle.measure(place.port, proxy.tree, sessions,
                                      idle.any_certificate() if tls else None)
        if failed:
            raise RuntimeError(f"{failed} of {sessions} sessions did not work any more")
        return octets
    finally:
        if proxy is not None:
            proxy.stop()
        upstream.close()


def run_idle(plan: Plan) -> dict[str, dict[str, float]]:
    """KB of each idle session, without and with TLS to the client."""
    results: dict[str, dict[str, float]] = {}
    for name in plan.names:
        if name == DIRECT:
            continue
        sessions = BY_NAME[name].idle_sessions
        sessions = max(sessions // 3, LEAST_IDLE) if plan.quick else sessions
        results[name] = {"sessions": sessions}
        for kind, tls in (("plain", False), ("TLS", True)):
            try:
                results[name][kind] = idle_octets(plan, name, tls, sessions) / 1000
            except (RuntimeError, OSError, AssertionError) as error:
                complain(f"idle, {name}", error)
    if not plan.quick and PROXY in plan.names:
        results["at once"] = run_all_sessions()
    return results


def run_all_sessions() -> dict[str, float]:
    """As many sessions as 20,000 descriptors allow, through the transparent proxy."""
    try:
        octets, failed = idle.run_smtpmux(peers.ROOT / "build/smtpmux", ALL_SESSIONS, False)
    except (RuntimeError, OSError, AssertionError) as error:
        complain(f"{ALL_SESSIONS} sessions", error)
        return {"sessions": ALL_SESSIONS, "failed": ALL_SESSIONS}
    return {"sessions": ALL_SESSIONS, "failed": failed, "plain": octets / 1000}


def run_far(plan: Plan) -> dict:
    """The provider far away, where bench/far.py is there and this machine can make the link."""
    try:
        import far
    except ImportError:
        return {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return far.run_far(plan.folder, plan.quick)
    except (RuntimeError, OSError) as error:
        complain("far", error)
        return {}
    finally:
        signal.signal(signal.SIGTERM, handler)
