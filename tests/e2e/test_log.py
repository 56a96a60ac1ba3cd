"""What the daemon tells (DESIGN 5): the fields of the summary, JSON, hashes, and what it never tells."""
import base64
import datetime
import json
import re

import pytest

from harness import APP, secrets_in
from wire import Wire, message, send_one

PASSWORD, PROVIDERS_PASSWORD = "a clients' password", "a providers' password"
SUMMARY = ["time", "level", "event", "session", "id", "user", "client", "from", "nrcpt", "size", "route",
           "upstream", "attempts", "code", "enhanced", "phase", "tls", "delay_ms", "outcome",
           "message_id"]


def test_summary__has_all_fields_in_order(stage):
    first, second = stage.provider({"mail": "451 4.3.0 no"}), stage.provider()
    mux = stage.mux([first, second])
    data = message(mark="summary")
    assert send_one(mux.port(), data, recipients=("a@example.net", "b@example.net")).code == 250
    line = mux.summary()
    assert list(line) == SUMMARY
    told = {key: line[key] for key in SUMMARY[4:] if key not in ("id", "delay_ms")}
    assert told == {
        "user": APP, "client": "127.0.0.1", "from": "from@example.com", "nrcpt": "2",
        "size": str(len(data)), "route": "user", "upstream": "p1", "attempts": "2", "code": "250",
        "enhanced": "2.0.0", "phase": "final", "tls": "", "outcome": "delivered",
        "message_id": "<summary@example.com>"}
    assert line["level"] == "info" and int(line["session"]) > 0 and int(line["delay_ms"]) >= 0
    when = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    assert abs(datetime.datetime.now(datetime.timezone.utc) - when) < datetime.timedelta(seconds=60)
    failed = mux.wait("attempt_failed")
    assert (failed["id"], failed["session"]) == (line["id"], line["session"])


@pytest.mark.parametrize("data, parameters, outcome, code", [
    (b"x\n\r\n", "", None, 550),  # never a message
    (b"Received: x\r\n" * 101 + message(), "", "rejected", 554),
    (message(), "", "delivered", 250),
])
def test_summary__each_message_has_one(stage, data, parameters, outcome, code):
    mux = stage.mux([stage.provider()])
    assert send_one(mux.port(), data, parameters=parameters).code == code
    mux.stop()
    assert [line["outcome"] for line in mux.find("message")] == ([outcome] if outcome else [])


def test_json__says_the_same(stage):
    mux = stage.mux([stage.provider()], log={"format": "json"})
    assert send_one(mux.port(), message(mark='quo"te')).code == 250
    mux.summary()
    line = json.loads([raw for raw in mux.raw if '"event":"message"' in raw][0])
    assert list(line) == SUMMARY
    assert (line["nrcpt"], line["code"], line["attempts"]) == (1, 250, 1)
    assert line["message_id"] == '<quo"te@example.com>'


def test_anonymize__people_and_clients_are_hashes(stage):
    mux = stage.mux([stage.provider()], log={"anonymize": True, "level": "debug"})
    for _ in range(2):
        assert send_one(mux.port()).code == 250
    lines = mux.wait("message", 2)
    for key in ("user", "client", "from"):
        assert re.fullmatch(r"[0-9a-f]{16}", lines[0][key]) and lines[0][key] == lines[1][key]
    mux.stop()
    told = "\n".join(raw for raw in mux.raw if "event=message " in raw)
    assert APP not in told and "from@example.com" not in told and "127.0.0.1" not in told


@pytest.mark.parametrize("level", ["debug", "info"])
def test_secrets__are_never_told(stage, level):
    """Whatever is tried, no password stands in the log, in clear or in base64 (ATTACKS 38)."""
    provider = stage.provider(users={"u": "another"})
    config_users = [{"email": APP, "password": PASSWORD, "upstreams": ["p0", "p1"]}]
    mux = stage.mux([{"url": provider.url, "user": "u", "pass": PROVIDERS_PASSWORD}, stage.provider()],
                    users=config_users, log={"level": level},
                    listeners=[{"auth": "required", "allow_insecure_auth": True}])
    guess = "a wrong guess of it"
    with Wire(mux.port()) as wire:
        wire.greet()
        assert wire.auth_plain(APP, guess).code == 535
        wire.command(f"AUTH PLAIN {PASSWORD}")
        assert wire.auth_plain(APP, PASSWORD).code == 235
        assert wire.submit(message()).code == 250
    mux.stop()
    assert secrets_in(mux.config) == {PASSWORD, PROVIDERS_PASSWORD}
    told = "\n".join(mux.raw)
    for secret in (PASSWORD, PROVIDERS_PASSWORD, guess):
        for shape in (secret, base64.b64encode(secret.encode()).decode(),
                      base64.b64encode(f"\0{APP}\0{secret}".encode()).decode()):
            assert shape not in told


def test_start__is_told(stage):
    mux = stage.mux([stage.provider()], listeners=[{}, {"listen": "[::1]:0"}])
    ready = mux.find("ready")[0]
    assert (ready["hostname"], ready["listeners"], ready["upstreams"], ready["users"]) == (
        "mux.test", "2", "1", "1")
    assert [line["address"].rpartition(":")[0] for line in mux.find("listening")] == ["127.0.0.1",
                                                                                    "[::1]"]
