"""The metrics: their text, what they count, and scrapes under load."""
import re
import shutil
import subprocess
import threading

import pytest

from harness import APP, PEERS, wait_until
from test_admin import Door, serve, submit

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?|NaN|[+-]Inf)")


def parse(text):
    """{(name, labels): value}, by the format's rules (version 0.0.4): strict, and each name once."""
    assert text.endswith("\n")
    types, helps, values, current = {}, set(), {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            assert name not in helps and words, line
            helps.add(name)
        elif line.startswith("# TYPE "):
            current, kind = line[7:].split(" ")
            assert current not in types and current in helps and kind in ("counter", "gauge", "histogram")
            types[current] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            suffix = name[len(current):]
            wanted = ("_bucket", "_sum", "_count") if types[current] == "histogram" else ("",)
            assert name.startswith(current) and suffix in wanted, line
            key = (name, labels or "")
            assert key not in values, line
            values[key] = float(value)
    for name, kind in types.items():
        assert name.startswith("smtpmux_") and (kind == "counter") == name.endswith("_total"), name
    check_histograms(types, values)
    return values


def check_histograms(types, values):
    """Buckets never fall, and the last one is the count."""
    for name in (name for name, kind in types.items() if kind == "histogram"):
        rows = {}
        for (sample, labels), value in values.items():
            if sample == name + "_bucket":
                rest, _, bound = labels.rpartition("le=")
                rows.setdefault(rest.rstrip(","), []).append((bound, value))
        for labels, row in rows.items():
            counts = [value for _, value in row]
            assert counts == sorted(counts) and row[-1][0] == '"+Inf"'
            assert values[name + "_count", labels] == counts[-1]


@pytest.fixture
def door(stage, tmp_path):
    return Door(serve(stage, tmp_path, [stage.provider({"mail": "451 4.3.0 later"}), stage.provider()]))


def test_metrics__count_what_happened(door):
    for number in range(3):
        assert submit(door.mux, f"m{number}").code == 250
    wait_until(lambda: len(door.mux.find("message")) == 3)
    values = parse(door.get("/metrics"))
    listener = 'listener="127.0.0.1:0"'
    assert values["smtpmux_messages_total", 'outcome="delivered"'] == 3
    assert values["smtpmux_connections_total", listener] == 3
    assert values["smtpmux_replies_total", listener + ',outcome="accepted"'] == 3
    assert values["smtpmux_upstream_outcomes_total", 'upstream="p0",outcome="refused"'] == 3
    assert values["smtpmux_upstream_outcomes_total", 'upstream="p1",outcome="accepted"'] == 3
    assert values["smtpmux_upstream_attempts_total", 'upstream="p1"'] == 3
    assert values["smtpmux_delivery_seconds_count", 'upstream="p1",outcome="accepted"'] == 3
    assert values["smtpmux_message_seconds_count", 'outcome="delivered"'] == 3
    assert values["smtpmux_upstream_breaker", 'upstream="p1",state="closed"'] == 1
    assert values["smtpmux_upstream_connections", 'upstream="p1",state="idle"'] >= 1
    assert values["smtpmux_upstream_usable", 'upstream="p0"'] == 1
    wait_until(lambda: parse(door.get("/metrics"))["smtpmux_sessions", listener] == 0)


def test_metrics__tell_a_suspension_and_hold_no_address(door):
    door.post("/api/upstreams/p0/suspend", {"for": "1h"})
    assert submit(door.mux).code == 250
    text = door.get("/metrics")
    values = parse(text)
    assert values["smtpmux_upstream_suspended", 'upstream="p0"'] == 1
    assert 3590 < values["smtpmux_upstream_suspended_seconds", 'upstream="p0"'] <= 3600
    assert values["smtpmux_upstream_suspensions_total", 'upstream="p0"'] == 1
    assert values["smtpmux_upstream_usable", 'upstream="p0"'] == 0
    assert "@" not in text


def test_metrics__go_on_over_a_reload(door):
    assert submit(door.mux).code == 250
    before = parse(door.get("/metrics"))
    assert door.post("/api/reload")[0] == 200
    assert submit(door.mux, "two").code == 250
    after = parse(door.get("/metrics"))
    for key, value in before.items():
        if key[0].endswith(("_total", "_count")):
            assert after[key] >= value, key
    assert after["smtpmux_messages_total", 'outcome="delivered"'] == 2
    assert after["smtpmux_connections_total", 'listener="127.0.0.1:0"'] == 2
    assert after["smtpmux_config_generation", ""] == 2


def test_metrics__promtool_finds_nothing_wrong(door):
    unpacked = PEERS / "root" / "usr" / "bin" / "promtool"
    promtool = shutil.which("promtool") or (str(unpacked) if unpacked.exists() else None)
    if promtool is None:
        pytest.skip("promtool is not here: scripts/peers.sh test fetches it")
    assert submit(door.mux).code == 250
    done = subprocess.run([promtool, "check", "metrics"], input=door.get("/metrics"), text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics__200_parallel_scrapes_under_load(door):
    """All are answered, and no message suffers."""
    failures, stop = [], threading.Event()

    def scrape():
        try:
            parse(door.get("/metrics"))
        except Exception as problem:  # told below
            failures.append(repr(problem))

    def load():
        number = 0
        while not stop.is_set():
            number += 1
            if submit(door.mux, f"load{threading.get_ident()}-{number}").code != 250:
                failures.append("a message was not taken")
                return

    senders = [threading.Thread(target=load) for _ in range(4)]
    scrapers = [threading.Thread(target=scrape) for _ in range(200)]
    for thread in senders + scrapers:
        thread.start()
    for thread in scrapers:
        thread.join()
    stop.set()
    for thread in senders:
        thread.join()
    assert not failures, failures[:3]


def test_metrics__failed_attempts_by_phase(stage, tmp_path):
    """Over all phases they are the attempts whose message was not taken."""
    lost = stage.provider({"connect": "refuse"})
    door = Door(serve(stage, tmp_path, [{"url": lost.url, "breaker": {"failures": 100}},
                                        stage.provider({"mail": "451 4.3.0 later"}),
                                        stage.provider({"dot": ["451 4.3.0 later", None]}),
                                        stage.provider()]))
    for number in range(2):
        assert submit(door.mux, f"m{number}").code == 250
    values = parse(door.get("/metrics"))
    failed = {labels: value for (name, labels), value in values.items()
              if name == "smtpmux_attempt_failures_total" and value}
    assert failed == {'upstream="p0",phase="connect"': 2, 'upstream="p1",phase="mail"': 2,
                      'upstream="p2",phase="final"': 1}
    for name in ("p0", "p1", "p2"):
        assert sum(value for labels, value in failed.items() if f'"{name}"' in labels) == sum(
            values["smtpmux_upstream_outcomes_total", f'upstream="{name}",outcome="{outcome}"']
            for outcome in ("refused", "failed", "unknown"))


def test_metrics__limits_of_routes_and_none_of_users(stage, tmp_path):
    users = [{"email": APP, "upstreams": ["p0"], "limits": ["50 messages/day"]}]
    door = Door(serve(stage, tmp_path, [stage.provider()], users=users, routes=[
        {"name": "bulk", "match": {"user": "app@*"}, "upstreams": ["p0"],
         "limits": ["100 recipients/day"]},
        {"match": {"size": ">1MiB"}, "upstreams": ["p0"], "limits": ["7/hour"]},
        {"name": "free", "match": {}, "upstreams": ["p0"]}]))
    assert submit(door.mux).code == 250
    values = parse(door.get("/metrics"))
    limits = {key: value for key, value in values.items() if "limit=" in key[1]}
    assert limits == {("smtpmux_route_limit_used", 'route="bulk",limit="100 recipients/day"'): 1,
                      ("smtpmux_route_limit", 'route="bulk",limit="100 recipients/day"'): 100,
                      ("smtpmux_route_limit_used", 'route="routes[1]",limit="7/hour"'): 0,
                      ("smtpmux_route_limit", 'route="routes[1]",limit="7/hour"'): 7}
