"""Quotas (DESIGN 4.9) of the daemon: never exceeded by one, whoever sends at the same time, whatever
becomes of a message, and whether the daemon is killed in between."""
import collections
import concurrent.futures

import pytest

from harness import APP, wait_until
from wire import Closed, Wire, message, send_one

RECIPIENTS = ("a@example.net", "b@example.net", "c@example.net")


def send_many(port, sessions, count, recipients=("to@example.net",), name="m"):
    """Replies' codes of sessions that send at the same time; 0: the daemon was gone."""
    def session(number):
        codes = []
        try:
            with Wire(port, seconds=90) as wire:
                wire.greet()
                for nth in range(count):
                    reply = wire.submit(message(mark=f"{name}{number}.{nth}"), recipients=recipients)
                    codes.append(reply.code)
                    if reply.code != 250:
                        wire.command("RSET")
        except (Closed, OSError):
            codes.append(0)
        return codes
    with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
        return collections.Counter(code for one in pool.map(session, range(sessions)) for code in one)


def limited(provider, *limits, **options):
    return {"url": provider.url, "limits": list(limits), **options}


# ---- of an upstream ----

@pytest.mark.parametrize("limit, recipients, most", [
    ("100 messages/day", 1, 100),
    ("100/hour", 3, 100),
    ("100 recipients/day", 3, 33),
    ("7 messages/day calendar Europe/Berlin", 1, 7),
])
def test_quota__is_used_up_and_never_exceeded_by_64_sessions(stage, limit, recipients, most):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([limited(first, limit, max_connections=64), {"url": second.url, "max_connections": 64}],
                    workers=4)
    assert send_many(mux.port(), 64, 4, RECIPIENTS[:recipients]) == {250: 256}
    assert (len(first.taken), len(second.taken)) == (most, 256 - most)
    assert not mux.find("attempt_failed") and not mux.find("breaker_opened")


def test_quota__the_strictest_of_several_limits_counts(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([limited(first, "30 messages/day", "1000 recipients/day", "20/hour"), second])
    assert send_many(mux.port(), 16, 4) == {250: 64}
    assert (len(first.taken), len(second.taken)) == (20, 44)


def test_quota__what_was_not_taken_is_given_back(stage):
    faults = {"dot": ["451 4.3.0 no", None] * 20, "mail": [None, "450 4.2.0 no"] * 20}
    first, second = stage.provider(faults), stage.provider()
    mux = stage.mux([limited(first, "20 messages/day"), second], workers=4)
    assert send_many(mux.port(), 16, 8) == {250: 128}
    assert (len(first.taken), len(second.taken)) == (20, 108)


def test_quota__what_is_unknown_is_used(stage):
    first, second = stage.provider({"after-dot": "close"}), stage.provider()
    mux = stage.mux([limited(first, "3 messages/day"), second])
    codes = [send_one(mux.port()).code for _ in range(6)]
    assert codes == [451] * 3 + [250] * 3
    assert (len(first.messages), len(second.taken)) == (3, 3)


def test_quota__full_everywhere_puts_off_and_says_why(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([limited(first, "1/day"), limited(second, "2/day")])
    replies = [send_one(mux.port()) for _ in range(5)]
    assert [reply.code for reply in replies] == [250] * 3 + [451] * 2
    assert replies[-1].enhanced == "4.4.1" and replies[-1].text.count("quota") == 2
    assert (len(first.taken), len(second.taken)) == (1, 2)
    assert int(mux.wait("message", 5)[-1]["attempts"]) == 0


def test_quota__more_recipients_than_the_limit_are_too_big_for_it(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([limited(first, "2 recipients/day"), second])
    assert send_one(mux.port(), recipients=RECIPIENTS).code == 250
    assert send_one(mux.port(), recipients=RECIPIENTS[:2]).code == 250
    assert (len(first.taken), len(second.taken)) == (1, 1)


# ---- windows of up to a minute delay ----

def test_pace__a_short_window_delays_and_no_second_holds_more(stage):
    provider = stage.provider()
    mux = stage.mux([limited(provider, "5 messages/s")], workers=4)
    assert send_many(mux.port(), 20, 1) == {250: 20}
    times = sorted(one.at for one in provider.taken)
    assert all(times[i + 5] - times[i] >= 0.998 for i in range(15))  # clocks count milliseconds
    assert times[-1] - times[0] < 10


def test_pace__is_how_long_it_may_delay(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([limited(first, "2/minute", pace="50ms"), second])
    assert [send_one(mux.port()).code for _ in range(4)] == [250] * 4
    assert (len(first.taken), len(second.taken)) == (2, 2)


# ---- of a user ----

@pytest.mark.parametrize("limit, recipients, most", [
    ("50 messages/day", 1, 50),
    ("50 recipients/day", 3, 16),
])
def test_limits_of_a_user__are_never_exceeded_and_told_as_450(stage, limit, recipients, most):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "max_connections": 64}], workers=4,
                    users=[{"email": APP, "upstreams": ["p0"], "limits": [limit]}])
    codes = send_many(mux.port(), 64, 2, RECIPIENTS[:recipients])
    assert codes == {250: most, 450: 128 - most}
    assert len(provider.taken) == most
    reply = send_one(mux.port(), recipients=RECIPIENTS[:recipients])
    assert (reply.code, reply.enhanced) == (450, "4.7.1")


# ---- what a restart remembers ----

@pytest.mark.parametrize("limit, lease, sessions", [("40 messages/day", 1, 4),
                                                    ("800 messages/day", 8, 32)])
def test_store__a_kill_in_the_middle_never_lets_more_through(stage, tmp_path, limit, lease, sessions):
    """It may lose what was leased and what was under way, in each of three lives."""
    first, second = stage.provider(), stage.provider()
    most, lives = int(limit.split()[0]), 3
    each = most // lives
    for life in range(lives + 1):
        mux = stage.mux([limited(first, limit, max_connections=sessions),
                         {"url": second.url, "max_connections": sessions}], workers=4,
                        store=f"sqlite:{tmp_path}/state.db")
        if life == lives:
            break
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            load = pool.submit(send_many, mux.port(), sessions, most, name=f"l{life}.")
            wait_until(lambda enough=each * (life + 1) * 3 // 4: len(first.taken) >= enough,
                       60, "messages of this life")
            mux.kill()
            load.result()
        stage.muxes.remove(mux)
    assert set(send_many(mux.port(), 16, most // 16 + 2)) == {250}
    assert len(first.messages) <= most
    assert len(first.messages) >= most - lives * (lease + sessions)


def test_store__a_restart_loses_nothing(stage, tmp_path):
    first, second = stage.provider(), stage.provider()
    for life in range(4):
        mux = stage.mux([limited(first, "40 messages/day"), second],
                        store=f"sqlite:{tmp_path}/state.db")
        assert send_many(mux.port(), 4, 4, name=f"l{life}.") == {250: 16}
        mux.stop()
    assert (len(first.taken), len(second.taken)) == (40, 24)
