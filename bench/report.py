"""The tables of a run, as Markdown that also reads as plain text."""
import json
import os
import pathlib
import platform
import re
import ssl
import subprocess

import figures
import works
from figures import cost, median, rate, ratio, show
from loads import Run, Work, cores
from peers import ALL, BIN, DIRECT, HAPROXY, MUX, PEERS, PROXY, ROOT

NOT = "–"
ORDER = {peer.name: place for place, peer in enumerate(ALL)}


def table(header: list[str], rows: list[list[str]]) -> str:
    """Columns as wide as they must be; figures to the right."""
    widths = [max(len(line[at]) for line in (header, *rows)) for at in range(len(header))]

    def put(line: list[str]) -> str:
        cells = (cell.ljust(width) if at == 0 else cell.rjust(width)
                 for at, (cell, width) in enumerate(zip(line, widths)))
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (width + 2) if at == 0 else "-" * (width + 1) + ":"
                          for at, width in enumerate(widths)) + "|"
    return "\n".join([put(header), rule, *map(put, rows)]) + "\n"


def in_order(names) -> list[str]:
    return sorted(names, key=lambda name: ORDER.get(name, len(ORDER)))


def part(value: float | None) -> str:
    return NOT if value is None else f"{value:.2f}"


def message_row(work: dict[str, list[Run]], name: str, size: int, resumed: bool) -> list[str]:
    runs = work[name]
    speed = median(runs, rate)
    row = [name, f"{speed * size / 1e6:,.0f} MB/s" if size >= works.LARGE else f"{speed:,.0f}",
           f"{figures.spread(runs):.0%}", part(ratio(work, name, HAPROXY, rate))]
    if name == DIRECT:
        row += [NOT, NOT]
    else:
        row += [f"{median(runs, cost):.3f}", part(ratio(work, name, HAPROXY, cost))]
    row.append(part(ratio(work, name, DIRECT, rate)))
    if resumed:
        row.append(f"{median(runs, lambda run: run.resumed):.0%}")
    return [*row, figures.limit(runs) or NOT]


def messages(work: Work, measured: dict[str, list[Run]]) -> str:
    resumed = "resume" in work.options
    header = ["", "messages/s", "spread", "/ HAProxy", "CPU ms", "CPU / HAProxy", "/ no proxy",
              *(["resumed"] if resumed else []), "limit of the bench"]
    rows = [message_row(measured, name, work.size, resumed) for name in in_order(measured)]
    return f"## {work.name}: {work.title}\n\n" + table(header, rows)


def sessions(measured: dict[str, dict[str, list[Run]]]) -> str:
    names = in_order({name for step in measured.values() for name in step})
    header = ["", *(f"{int(count):,}" for count in measured), "last / first"]

    def rows(pick, form):
        for name in names:
            at = [median(step[name], pick) if name in step else None for step in measured.values()]
            ends = at[-1] / at[0] if at[0] and at[-1] else None
            yield [name, *(NOT if value is None else form.format(value) for value in at), part(ends)]

    limits = sorted({f"{name} with {int(count):,}: {figures.limit(step[name])}"
                     for count, step in measured.items() for name in step if figures.limit(step[name])})
    return ("## Sessions: 4 KB, so many connections kept\n\nMessages/s:\n\n"
            + table(header, list(rows(rate, "{:,.0f}"))) + "\nCPU ms of the proxy per message:\n\n"
            + table(header, [row for row in rows(cost, "{:.3f}") if row[0] != DIRECT])
            + "\nLimits of the bench: " + ("; ".join(limits) or "none") + ".\n")


def latency(measured: dict[str, dict[str, tuple[float, ...]]]) -> str:
    direct = measured.get(DIRECT, {})
    rows = []
    for name in in_order(measured):
        row = [name]
        for kind in ("kept", "new"):
            own, base = measured[name].get(kind), direct.get(kind)
            if own is None or base is None:
                row += [NOT] * 3
            else:
                row += [f"{us:,.0f}" if name == DIRECT else f"{us - less:+,.0f}"
                        for us, less in zip(own, base)]
        rows.append(row)
    header = ["", *(f"{kind} {at}" for kind in ("kept", "new") for at in ("p50", "p99", "p99.9"))]
    return ("## Latency: microseconds that the proxy adds to a message of one session\n\n"
            + table(header, rows) + f"\nOf {DIRECT}: the message itself. kept: the connection is; "
            "new: a connection for each message, its time included.\n")


def idle(measured: dict[str, dict[str, float]]) -> str:
    rows = [[name, *(f"{row[kind]:,.2f}" if kind in row else NOT for kind in ("plain", "TLS")),
             f"{row['sessions']:,}"]
            for name, row in sorted(measured.items(), key=lambda item: ORDER.get(item[0], 99))
            if name in ORDER]
    text = ("## Idle: KB of memory for each session behind EHLO\n\n"
            + table(["", "plain", "TLS", "sessions"], rows)
            + f"\nWith an upstream connection open: {HAPROXY}, {PROXY}.\n")
    once = measured.get("at once")
    if once:
        text += (f"\n{once['sessions']:,} sessions at once through the transparent proxy, under a limit "
                 f"of 20,000 descriptors: {once['failed']:,.0f} failed.\n")
    return text


def far(measured: dict) -> str:
    rows = [[what, *(show(ms) for ms in (*row["direct"][:2], *row["smtpmux"][:2])), part(row["ratio"])]
            for what, row in measured.items()]
    return ("## Far: a provider 20 ms away over TLS, a connection per message\n\nMilliseconds per message:\n\n"
            + table(["", "direct", "p99", "smtpmux", "p99", "smtpmux / direct"], rows))


def aims(results: dict) -> str:
    rows = []
    for aim in figures.AIMS:
        wanted, figure, verdict = aim.judge(results)
        rows.append([aim.face, aim.what, wanted, figure, verdict])
    return "## The aims\n\n" + table(["", "aim", "wanted", "measured", ""], rows)


# ---- the machine ----

def said(*command) -> str:
    """The first line with a number in it of what a program says of its version."""
    try:
        done = subprocess.run([str(word) for word in command], check=False, timeout=10, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return NOT
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout)
    return found.group(0) if found else NOT


def npm_version(path: pathlib.Path) -> str:
    try:
        return json.loads(path.read_text())["version"]
    except OSError:
        return NOT


def cpu_model() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return re.sub(r"\s+", " ", line.partition(":")[2].strip())
    return platform.machine()


def machine() -> str:
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    aiosmtpd = said("/usr/bin/python3", "-c", "import aiosmtpd; print(aiosmtpd.__version__)")
    return (f"{cpu_model()}, {cores()} cores, {gigabytes:.0f} GB; Linux {platform.release()}; "
            f"OpenSSL {ssl.OPENSSL_VERSION.split()[1]}; "
            f"smtpmux {said(ROOT / 'build/smtpmux', '--version')}, HAProxy {said(BIN / 'haproxy', '-v')}, "
            f"nginx {said(BIN / 'nginx', '-v')}, Postfix {said(BIN / 'postconf', '-dh', 'mail_version')}, "
            f"Haraka {npm_version(PEERS / 'haraka/node_modules/Haraka/package.json')} on Node.js "
            f"{said('node', '--version')}, aiosmtpd {aiosmtpd} on Python {said('/usr/bin/python3', '--version')}.")


def disturbance(results: dict) -> str:
    usual, most = figures.disturbance(results)
    warning = ("" if usual < figures.QUIET * cores() else
               "\n**The machine was not quiet: do not believe what follows.**\n")
    return (f"In {figures.busy_part(results):.0%} of the runs all cores were busy: throughput is then what generator,\n"
            "proxy and sink leave to each other, and CPU per message tells more. Others than the bench used\n"
            f"{usual:.2f} of the {cores()} cores in the median run, {most:.2f} at most.\n" + warning)


HEAD = """# smtpmux and its peers

Made by `make bench`; everything runs on one machine and shares its cores: generator, proxy, sink. Compare
figures only within one run. What stands behind the words and how to read them: [performance](../docs/performance.md).

"""
FOOT = f"""
Of {{rounds}} rounds of {{seconds:g}} s each, all proxies in turn: medians; spread is from the slowest to the fastest
round. Ratios are the medians of the rounds' ratios. CPU is that of all the proxy's processes, per message. A
generator or a sink that uses {figures.FULL:.0%} of a core is named as a limit: the proxy might do more. {MUX} is the
multiplexer, {PROXY} the transparent proxy.
"""


def whole(plan: works.Plan, results: dict, sections: list[str], plot: str) -> str:
    return (HEAD + machine() + "\n" + FOOT.format(rounds=plan.rounds, seconds=plan.seconds) + "\n"
            + disturbance(results) + "\n" + aims(results) + (f"\n![Throughput and cost against sessions]({plot})\n" if plot else "")
            + "".join("\n" + section for section in sections))
