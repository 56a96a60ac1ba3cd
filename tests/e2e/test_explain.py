"""`smtpmux explain`: what it says is what happens."""
import json

import pytest

from harness import APP
from harness_cli import run
from wire import Wire, message, send_one

SENDER = "ann@example.com"
ROUTES = [
    {"name": "own", "match": {"rcpt_domain": "own.example"}, "upstreams": ["b"], "mixed_routes": "first"},
    {"name": "bulk", "match": {"header": {"X-Priority": "bulk"}, "not": {"from": "boss@*"}},
     "selector": "weighted", "upstreams": [{"b": 3}, {"c": 1}]},
    {"name": "large", "match": {"size": ">4KiB"}, "upstreams": ["c"]},
    {"name": "never", "match": {"time": "mon 00:00-00:01", "client": "192.0.2.0/24"}, "upstreams": ["c"]},
]


def explain(path, *arguments, user=APP, sender=SENDER, to=("bob@example.org",)):
    recipients = [word for one in to for word in ("--to", one)]
    return run("explain", "-c", path, "--user", user, "--from", sender, *recipients, *arguments)


def answer(path, *arguments, **options):
    result = explain(path, *arguments, "--json", **options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def daemon(stage):
    providers = {name: stage.provider() for name in "abc"}
    users = [{"email": APP, "upstreams": ["a"], "allow_from": ["*@example.com"]}]
    return stage.mux(providers, users=users, routes=ROUTES)


@pytest.mark.parametrize("fields, lines, options", [
    ("Subject: x\r\n", 1, {}),
    ("X-Priority: bulk\r\n", 1, {}),
    ("X-Priority: bulk\r\n", 1, {"sender": "boss@example.com"}),
    ("Subject: x\r\n", 200, {}),
    ("X-Priority: bulk\r\n", 200, {"to": ["a@own.example"]}),
])
def test_explain__the_route_and_the_upstream_are_those_that_are_taken(daemon, fields, lines, options):
    sender = options.get("sender", SENDER)
    data = f"{fields}\r\n".encode() + b"a line of about forty octets, or a few\r\n" * lines
    headers = [word for field in fields.splitlines() for word in ("--header", field)]
    told = answer(daemon.path, *headers, "--size", len(data), "--client", "127.0.0.1", **options)
    assert not told["depends"]
    assert send_one(daemon.port(), data, sender=sender,
                    recipients=options.get("to", ["bob@example.org"])).code == 250
    summary = daemon.wait("message")
    assert (told["route"], told["upstreams"][0]["name"]) == (summary["route"], summary["upstream"])
    assert all(reply["code"] == 250 for reply in told["replies"])


@pytest.mark.parametrize("sender, to", [
    (SENDER, ["a@example.org", "b@own.example", "c@example.org"]),
    (SENDER, ["a@own.example", "b@example.org"]),
    ("x@example.net", ["a@example.org"]),
])
def test_explain__the_replies_are_those_that_are_given(daemon, sender, to):
    told = answer(daemon.path, "--client", "127.0.0.1", sender=sender, to=to)
    given = []
    with Wire(daemon.port()) as wire:
        wire.greet()
        given.append(wire.command(f"MAIL FROM:<{sender}>"))
        if given[0].code == 250:
            given += [wire.command(f"RCPT TO:<{one}>") for one in to]
    assert [(reply["code"], reply["enhanced"]) for reply in told["replies"]] == [
        (reply.code, reply.enhanced) for reply in given]


def test_explain__a_from_field_is_judged_as_allow_from_does(daemon):
    for sender, code in ("eve@example.net", 550), (SENDER, None):
        field = f"From: Ann <{sender}>"
        told = [one["code"] for one in answer(daemon.path, "--header", field)["replies"]
                if one["to"] == "the message"]
        assert told == ([code] if code else [])
        assert send_one(daemon.port(), f"{field}\r\n\r\nbody\r\n".encode(), sender=SENDER,
                        recipients=["bob@example.org"]).code == (code or 250)


def test_explain__what_is_not_told_is_said(daemon):
    told = answer(daemon.path, "--time", "2026-01-05 00:00")
    assert told["depends"] and told["route"] == "user"
    assert {route["name"]: route["fits"] for route in told["routes"]} == {
        "own": "no", "bulk": "maybe", "large": "maybe", "never": "maybe"}
    text = explain(daemon.path).stdout
    assert "bulk may fit" in text and "--header" in text and "--size" in text


def test_explain__a_person_reads_why(daemon):
    text = explain(daemon.path, "--header", "X-Priority: high", "--size", "1k", "--client", "127.0.0.1",
                   "--time", "2026-01-05 09:00").stdout
    assert "own does not fit" in text
    assert "the recipient's domain is example.org; wanted is own.example" in text
    assert "the field X-Priority is high; wanted is bulk" in text
    assert "the size is 1000 octets; wanted is >4KiB" in text
    assert "the time is mon 09:00 UTC; wanted is mon 00:00-00:01" in text
    assert "none fits: the user's own upstreams are taken" in text
    assert "1. a: usable" in text
    assert f"MAIL FROM:<{SENDER}>: 250" in text


def test_explain__a_question_that_cannot_be_answered(daemon):
    for arguments, said in [
            ({"user": "nobody@example.com"}, "no user is called"),
            ({"to": ["not an address"]}, "is no address"),
            ({"sender": "@"}, "is no address")]:
        result = explain(daemon.path, **arguments)
        assert result.returncode == 64 and said in result.stderr and not result.stdout
    assert "is no size" in explain(daemon.path, "--size", "many").stderr
    assert "is a moment" in explain(daemon.path, "--time", "soon").stderr
    assert "is no field" in explain(daemon.path, "--header", "nonsense").stderr
    assert run("explain", "-c", daemon.path, "--user", APP).returncode == 64


def test_explain__changes_nothing(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([first, second], users=[
        {"email": APP, "upstreams": ["p0", "p1"], "selector": "round-robin"}])
    for _ in range(2):
        assert [one["name"] for one in answer(mux.path)["upstreams"]] == ["p0", "p1"]
    assert send_one(mux.port(), message()).code == 250
    assert mux.wait("message")["upstream"] == "p0" and second.connections == 0


def test_explain__live_knows_turns_and_suspensions(stage, tmp_path):
    providers = [stage.provider(), stage.provider()]
    mux = stage.mux(providers, users=[
        {"email": APP, "upstreams": ["p0", "p1"], "selector": "round-robin"}],
        admin={"listen": f"unix:{tmp_path}/admin.sock"})
    assert send_one(mux.port(), message()).code == 250
    assert [one["name"] for one in answer(mux.path, "--live")["upstreams"]] == ["p1", "p0"]
    assert [one["name"] for one in answer(mux.path)["upstreams"]] == ["p0", "p1"]
    assert run("upstream", "suspend", "-c", mux.path, "p1").returncode == 0
    text = explain(mux.path, "--live").stdout
    assert "1. p1: skipped: suspended, for " in text and "2. p0: usable" in text
    assert send_one(mux.port(), message()).code == 250
    assert [line["upstream"] for line in mux.wait("message", 2)] == ["p0", "p0"]


@pytest.mark.parametrize("extensions, line, arguments, why", [
    (("SIZE 1000",), b"x" * 70, ("--size", "5k"), "the message is larger than its SIZE"),
    (("SIZE 9000",), b"\xc3\xa4", ("--8bit",), "it does not offer 8BITMIME"),
])
def test_explain__live_knows_what_an_upstream_cannot_take(stage, tmp_path, extensions, line, arguments, why):
    """As its last EHLO said; a delivery finds the same."""
    data = b"Subject: x\r\n\r\n" + (line + b"\r\n") * 60
    mux = stage.mux([stage.provider(extensions=extensions), stage.provider()], users=[
        {"email": APP, "upstreams": ["p0", "p1"]}], admin={"listen": f"unix:{tmp_path}/admin.sock"})
    parameters = " BODY=8BITMIME" if "--8bit" in arguments else ""
    assert answer(mux.path, "--live", *arguments)["upstreams"][0]["usable"], "it has said nothing yet"
    assert send_one(mux.port()).code == 250
    told = answer(mux.path, "--live", *arguments)["upstreams"]
    assert [one["usable"] for one in told] == [False, True] and told[0]["reason"] == why
    assert send_one(mux.port(), data, parameters=parameters).code == 250
    assert [one["upstream"] for one in mux.wait("message", 2)] == ["p0", "p1"]
    assert why in mux.wait("attempt_failed")["reason"]


def test_explain__live_without_a_daemon_says_so(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("admin: {listen: 'unix:" + str(tmp_path) + "/none.sock'}\n"
                    "listeners: [{listen: '127.0.0.1:0', allow_insecure_auth: true}]\n"
                    "upstreams: {one: {url: 'smtp://127.0.0.1:1'}}\n"
                    f"users: [{{email: '{APP}', password: p, upstreams: [one]}}]\n")
    result = explain(path, "--live")
    assert result.returncode != 0 and "none.sock" in result.stderr
    assert run("explain", "-c", path, "--user", APP, "--from", SENDER, "--to", "a@b.example",
               "--admin", "unix:/x").returncode == 64
