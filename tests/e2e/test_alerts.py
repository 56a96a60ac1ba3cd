"""The URL of `alerts` is told of suspensions and breakers, and mail never waits for it."""
import threading

import pytest

from harness import HOSTNAME, wait_until
from test_admin import Door, serve
from token_endpoint import Endpoint
from wire import send_one


@pytest.fixture
def receiver():
    made = []

    def make(*answers):
        made.append(Endpoint(*answers, path="/hook?token=in-the-query"))
        return made[-1]
    yield make
    for one in made:
        one.close()


def refusing(stage):
    provider = stage.provider(users={"u": "right"})
    return {"url": provider.url, "user": "u", "pass": "wrong-password"}


def test_alerts__a_suspension_is_told_once(stage, receiver):
    hook, second = receiver(), stage.provider()
    mux = stage.mux([refusing(stage), second], alerts=hook.url)
    for _ in range(3):
        assert send_one(mux.port()).code == 250
    wait_until(lambda: hook.requests)
    told = hook.posts()
    assert len(told) == 1
    assert set(told[0]) == {"event", "upstream", "reason", "until", "time", "hostname"}
    assert (told[0]["event"], told[0]["upstream"], told[0]["hostname"]) == (
        "upstream_suspended", "p0", HOSTNAME)
    assert "535" in told[0]["reason"] and told[0]["until"] > told[0]["time"]
    assert "wrong-password" not in str(told)
    assert not mux.find("alert_failed")


def test_alerts__a_breaker_that_opens_and_closes(stage, receiver):
    hook, second = receiver(), stage.provider()
    first = stage.provider({"connect": "refuse"})
    mux = stage.mux([{"url": first.url, "breaker": {"failures": 2, "pause": "50ms"}}, second],
                    alerts=hook.url)
    for _ in range(2):
        assert send_one(mux.port()).code == 250
    wait_until(lambda: hook.requests)
    first.listen()
    wait_until(lambda: send_one(mux.port()).code == 250 and first.taken)
    wait_until(lambda: hook.posts()[-1]["event"] == "breaker_closed")
    told = hook.posts()
    assert told[0]["event"] == "breaker_opened" and told[0]["upstream"] == "p0" and told[0]["until"]
    assert told[-1]["until"] is None


def test_alerts__one_that_fails_is_told_again(stage, receiver):
    hook, second = receiver(500, {}), stage.provider()
    mux = stage.mux([refusing(stage), second], alerts=hook.url)
    assert send_one(mux.port()).code == 250
    wait_until(lambda: len(hook.requests) == 2)
    assert hook.posts()[0] == hook.posts()[1]
    line = mux.wait("alert_failed")
    assert line["alert"] == "upstream_suspended" and "500" in line["reason"]
    assert not [raw for raw in mux.raw if "in-the-query" in raw]


def test_alerts__mail_does_not_wait_and_the_end_neither(stage, receiver):
    hook, second = receiver("stall"), stage.provider()
    mux = stage.mux([refusing(stage), second], alerts=hook.url)
    codes = []
    for _ in range(3):
        sender = threading.Thread(target=lambda: codes.append(send_one(mux.port()).code))
        sender.start()
        sender.join(10)
    assert codes == [250] * 3
    wait_until(lambda: hook.requests)
    mux.signal()
    assert mux.wait_end(10) == 0


# ---- what an operator does ----

def test_alerts__an_operator_suspends_and_resumes(stage, receiver, tmp_path):
    hook = receiver()
    door = Door(serve(stage, tmp_path, [stage.provider(), stage.provider()], alerts=hook.url))
    assert door.post("/api/upstreams/p0/resume")[0] == 200  # nothing to tell
    assert door.post("/api/upstreams/p0/suspend", {"for": "1h"})[0] == 200
    assert door.post("/api/upstreams/p0/resume")[0] == 200
    wait_until(lambda: len(hook.requests) == 2)
    first, second = hook.posts()
    assert (first["event"], first["upstream"], first["reason"]) == (
        "upstream_suspended", "p0", "an operator asked for it")
    assert first["until"] > first["time"]
    assert (second["event"], second["upstream"], second["until"]) == ("upstream_resumed", "p0", None)
    line = door.mux.wait("upstream_suspended")
    assert (line["upstream"], line["who"], line["for"]) == ("p0", "admin", "1h")
    line = door.mux.wait("upstream_resumed")
    assert (line["upstream"], line["who"]) == ("p0", "admin") and "for" not in line


def test_alerts__a_suspension_by_an_operator_that_ends_by_itself(stage, receiver, tmp_path):
    hook = receiver()
    door = Door(serve(stage, tmp_path, [stage.provider(), stage.provider()], alerts=hook.url))
    assert door.post("/api/upstreams/p0/suspend", {"for": "200ms"})[0] == 200
    wait_until(lambda: len(hook.requests) == 2)
    assert [told["event"] for told in hook.posts()] == ["upstream_suspended", "upstream_resumed"]
    assert door.upstream()["state"] == "usable"


def test_alerts__an_operator_closes_a_breaker(stage, receiver, tmp_path):
    hook, first = receiver(), stage.provider({"connect": "refuse"})
    door = Door(serve(stage, tmp_path, [{"url": first.url, "breaker": {"failures": 1, "pause": "1h"}},
                                        stage.provider()], alerts=hook.url))
    assert send_one(door.mux.port()).code == 250
    door.mux.wait("breaker_opened")
    assert door.post("/api/upstreams/p0/resume")[1]["breaker"] == "closed"
    wait_until(lambda: len(hook.requests) == 2)
    assert [told["event"] for told in hook.posts()] == ["breaker_opened", "breaker_closed"]
    assert door.mux.wait("breaker_closed")["who"] == "admin"
    assert not door.mux.find("upstream_resumed")
