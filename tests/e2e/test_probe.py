"""The active probe of an upstream (DESIGN 4.8): connection, TLS, AUTH and NOOP by one worker of all, when
there was nothing else to do for as long as `probe` says."""
import time

import pytest

from certificates import server_context
from harness import make_config, wait_until
from test_breaker import LONG, breaker
from test_reload import reload
from token_endpoint import Endpoint
from wire import Wire, message, send_one

PROBE = 1.0  # seconds: the shortest that may be configured
SLACK = 0.5  # a late thread, a slow machine


def probed(provider, **keys):
    return {"url": provider.url, "probe": "1s", **keys}


def noops(provider):
    return [session for session in list(provider.sessions) if "NOOP" in session.verbs()]


def count(provider):
    return sum(session.verbs().count("NOOP") for session in list(provider.sessions))


def test_probe__closes_an_open_breaker_without_a_message(stage):
    provider, good = stage.provider({"connect": "refuse"}), stage.provider()
    mux = stage.mux([probed(provider, breaker=breaker(1, "500ms", "1s")), good], workers=4)
    assert send_one(mux.port()).code == 250
    assert mux.wait("breaker_opened")["upstream"] == "p0"
    mux.wait("probe_failed", upstream="p0", phase="connect")
    provider.listen()
    came_back = time.monotonic()
    assert mux.wait("breaker_closed", seconds=10)["upstream"] == "p0"
    assert time.monotonic() - came_back < 2 * PROBE + 4 * SLACK
    assert not provider.messages and len(good.taken) == 1 and len(mux.find("message")) == 1
    assert send_one(mux.port()).code == 250
    assert len(provider.taken) == 1


def test_probe__comes_when_the_breakers_pause_is_over(stage):
    """Long before `probe` has passed; whatever opened the breaker, and as often as it is opened again."""
    down = "421 4.3.2 going down"
    provider, good = stage.provider({"banner": [down, down, down, None]}), stage.provider()
    mux = stage.mux([{**probed(provider, breaker=breaker(1, "500ms", "1s")), "probe": "1h"}, good], workers=4)
    assert send_one(mux.port()).code == 250
    assert mux.wait("breaker_closed", seconds=10)["upstream"] == "p0"
    assert len(mux.find("breaker_opened")) == 3
    assert provider.connections == 4 and not provider.messages and len(good.taken) == 1


def test_probe__failures_alone_open_the_breaker(stage):
    provider = stage.provider({"banner": "421 4.3.2 going down"})
    mux = stage.mux([probed(provider, breaker=breaker(2, LONG))])
    event = mux.wait("breaker_opened")
    assert event["upstream"] == "p0" and "id" not in event
    assert provider.connections == 2 and not mux.find("message")


def test_probe__exactly_one_with_four_workers(stage):
    provider = stage.provider()
    begun = time.monotonic()
    mux = stage.mux([probed(provider)], workers=4)
    wait_until(lambda: count(provider) >= 4)
    took = time.monotonic() - begun
    assert count(provider) <= took / PROBE + 1, (count(provider), took)
    wait_until(lambda: all(session.verbs() == ["EHLO", "NOOP", "QUIT"] for session in noops(provider)[:4]))
    assert not mux.find("probe_failed") and not provider.messages


def test_probe__an_idle_connection_is_left_alone(stage):
    provider = stage.provider()
    mux = stage.mux([probed(provider)], workers=1)
    assert send_one(mux.port()).code == 250
    before = count(provider)
    wait_until(lambda: count(provider) >= before + 2)
    assert "NOOP" not in provider.taken[0].session.verbs()
    before = provider.connections
    assert send_one(mux.port()).code == 250
    assert provider.taken[1].session is provider.taken[0].session


def test_probe__a_message_does_not_wait_for_one(stage):
    """The only connection that may be had is a probe's, which stalls; the message is another worker's or
    the same one's."""
    provider = stage.provider({"banner": ["stall", None, "stall", None]})
    mux = stage.mux([probed(provider, max_connections=1, max_messages_per_connection=1)], workers=4)
    for taken in 1, 2:
        wait_until(lambda: provider.connections == 2 * taken - 1)
        begun = time.monotonic()
        assert send_one(mux.port()).code == 250
        assert time.monotonic() - begun < 5 and len(provider.taken) == taken
    assert not mux.find("probe_failed")


def test_probe__none_while_mail_flows(stage):
    provider = stage.provider()
    mux = stage.mux([probed(provider)], workers=2)
    assert send_one(mux.port()).code == 250
    before, times = count(provider), [time.monotonic()]
    with Wire(mux.port()) as wire:
        wire.greet()
        while times[-1] < times[0] + 3 * PROBE:
            assert wire.submit(message(mark=f"m{len(times)}")).code == 250
            times.append(time.monotonic())
    pauses = [later - earlier for earlier, later in zip(times, times[1:])]
    assert count(provider) == before or max(pauses) > PROBE - SLACK, max(pauses)
    wait_until(lambda: count(provider) > before)


def test_probe__signs_in_in_tls(stage, certificates):
    provider = stage.provider(tls="starttls", context=server_context(certificates.good), users={"u": "secret"},
                              name="localhost")
    mux = stage.mux([probed(provider, user="u", **{"pass": "secret"}, ca=certificates.ca)])
    wait_until(lambda: noops(provider))
    session = provider.sessions[0]
    assert session.tls and session.user == "u"
    wait_until(lambda: "QUIT" in session.verbs())
    assert session.verbs() == ["EHLO", "STARTTLS", "EHLO", "AUTH", "NOOP", "QUIT"]
    assert not mux.find("probe_failed")


def test_probe__refused_credentials_suspend_and_end_the_probes(stage):
    hook = Endpoint({}, path="/hook")
    provider, clock = stage.provider(users={"u": "right"}), stage.provider()
    mux = stage.mux([probed(provider, user="u", **{"pass": "wrong-password"}), probed(clock)],
                    alerts=hook.url, workers=4)
    try:
        event = mux.wait("upstream_suspended")
        assert event["upstream"] == "p0" and "535" in event["reason"] and "id" not in event
        wait_until(lambda: hook.requests)
        assert hook.posts()[0]["event"] == "upstream_suspended"
        before = count(clock)
        wait_until(lambda: count(clock) >= before + 3)
        assert provider.connections == 1 and len(mux.find("upstream_suspended")) == 1
    finally:
        hook.close()


def test_probe__a_noop_that_is_refused_is_told_and_opens_no_breaker(stage):
    provider = stage.provider({"noop": "502 5.5.1 no such command"})
    mux = stage.mux([probed(provider, breaker=breaker(1, LONG))], workers=1)
    assert "no such command" in mux.wait("probe_failed")["reason"]
    assert not mux.find("breaker_opened")
    assert send_one(mux.port()).code == 250


def test_probe__touches_no_quota(stage):
    provider = stage.provider()
    mux = stage.mux([probed(provider, limits=["1/h"])], workers=1)
    wait_until(lambda: count(provider) >= 2)
    assert [send_one(mux.port()).code for _ in range(2)] == [250, 451]


@pytest.mark.parametrize("stalls", ["banner", "ehlo", "noop"])
def test_probe__drain_does_not_wait_for_one(stage, stalls):
    provider = stage.provider({stalls: "stall"})
    mux = stage.mux([probed(provider)], workers=2)
    wait_until(lambda: provider.connections if stalls == "banner" else
               {"ehlo": "EHLO", "noop": "NOOP"}[stalls] in [line.split()[0] for line in provider.commands()])
    begun = time.monotonic()
    mux.signal()
    assert mux.wait_end() == 0
    assert time.monotonic() - begun < 10


def test_probe__a_stalled_one_is_over_in_its_time_and_a_message_does_without(stage):
    provider, good = stage.provider({"banner": ["stall"]}), stage.provider()
    mux = stage.mux([probed(provider), good], workers=1)
    wait_until(lambda: provider.connections == 1)
    assert send_one(mux.port()).code == 250
    assert len(provider.taken) == 1 and not good.messages


def test_probe__a_reload_that_takes_it_away_ends_it(stage):
    provider, clock = stage.provider(), stage.provider()
    mux = stage.mux([probed(provider), probed(clock)], workers=2)
    wait_until(lambda: count(provider))
    reload(mux, make_config([provider, probed(clock)], workers=2))
    before, at = count(provider), count(clock)
    wait_until(lambda: count(clock) >= at + 3)
    assert count(provider) == before


def test_probe__a_reload_that_brings_it_begins_it(stage):
    provider = stage.provider()
    mux = stage.mux([provider], workers=2)
    reload(mux, make_config([probed(provider)], workers=2))
    wait_until(lambda: count(provider) >= 2)
