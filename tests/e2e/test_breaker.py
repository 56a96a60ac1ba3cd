"""The breaker of an upstream (DESIGN 4.8): open after N failures in a row in connect to EHLO, half-open
with one probe, a pause that doubles to a cap, and the best one all the same when all are open."""
import concurrent.futures
import threading

from harness import wait_until
from wire import Wire, message, send_one

LONG = "10m"  # longer than a test
GOING_DOWN = "421 4.3.2 going down"


def send_until(mux, condition, what):
    """Sends one message after the other until it is true; their codes."""
    codes = []

    def attempt():
        if condition():
            return True
        codes.append(send_one(mux.port(), message(mark=f"until{len(codes)}")).code)
        return condition()
    wait_until(attempt, 30, what)
    return codes


def breaker(failures, pause, most=None):
    return {"failures": failures, "pause": pause, **({"max_pause": most} if most else {})}


def test_breaker__opens_after_failures_in_a_row_and_spares_the_provider(stage):
    flaky = stage.provider({"banner": [GOING_DOWN, GOING_DOWN, None] + [GOING_DOWN] * 3})
    good = stage.provider()
    mux = stage.mux([{"url": flaky.url, "max_messages_per_connection": 1,
                      "breaker": breaker(3, LONG)}, good], workers=1)
    for count in range(1, 7):
        assert send_one(mux.port()).code == 250
        assert flaky.connections == count
        assert count == 6 or not mux.find("breaker_opened")
    event = mux.wait("breaker_opened")
    assert (event["upstream"], event["level"], event["pause_ms"]) == ("p0", "error", "600000")
    for _ in range(5):
        assert send_one(mux.port()).code == 250
    assert (flaky.connections, len(flaky.taken), len(good.taken)) == (6, 1, 10)
    assert {line["attempts"] for line in mux.wait("message", 11)[6:]} == {"1"}  # it was skipped


def test_breaker__half_open_lets_exactly_one_probe_through_under_32_sessions(stage):
    greets = threading.Event()
    provider = stage.provider({"connect": "refuse", "banner": lambda _: greets.wait(60) and None})
    good = stage.provider()
    mux = stage.mux([{"url": provider.url, "breaker": breaker(2, "300ms")}, good], workers=4)
    send_until(mux, lambda: mux.find("breaker_opened"), "an open breaker")
    provider.listen()
    barrier = threading.Barrier(32)

    def session(number):
        """Messages until the probe is on its way, and five more: one of all 32 waits for it."""
        codes = []
        with Wire(mux.port(), seconds=90) as wire:
            wire.greet()
            barrier.wait(30)
            more = 5
            while more > 0 and len(codes) < 5000:
                codes.append(wire.submit(message(mark=f"s{number}.{len(codes)}")).code)
                more -= provider.connections > 0
        return codes

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        sessions = [pool.submit(session, number) for number in range(32)]
        wait_until(lambda: sum(one.done() for one in sessions) >= 31, 60, "the others' end")
        assert provider.connections == 1 and not provider.messages
        assert sum(one.done() for one in sessions) == 31
        greets.set()
        codes = [code for one in sessions for code in one.result()]
    assert set(codes) == {250}
    assert mux.wait("breaker_closed")["upstream"] == "p0"
    assert len(mux.find("breaker_closed")) == 1 and provider.taken
    before = len(good.taken)
    assert send_one(mux.port()).code == 250 and len(good.taken) == before


def test_breaker__a_pause_doubles_to_the_cap_and_begins_anew_after_a_success(stage):
    flaky = stage.provider({"banner": [GOING_DOWN] * 5 + [None] + [GOING_DOWN]})
    mux = stage.mux([{"url": flaky.url, "max_messages_per_connection": 1,
                      "breaker": breaker(1, "50ms", "200ms")}, stage.provider()], workers=1)
    codes = send_until(mux, lambda: len(mux.find("breaker_opened")) >= 6, "six openings")
    assert set(codes) == {250}
    told = [line.get("pause_ms") or line["event"] for line in list(mux.lines)
            if line["event"] in ("breaker_opened", "breaker_closed")]
    assert told[:7] == ["50", "100", "200", "200", "200", "breaker_closed", "50"]


def test_breaker__when_all_are_open_the_best_is_tried_anyway(stage):
    first, second = (stage.provider({"connect": "refuse"}) for _ in range(2))
    mux = stage.mux([{"url": first.url, "breaker": breaker(1, "10m")},
                     {"url": second.url, "breaker": breaker(1, "5m")}], workers=1)
    assert send_one(mux.port()).code == 451
    assert len(mux.wait("breaker_opened", 2)) == 2
    first.listen()
    second.listen()
    assert send_one(mux.port()).code == 250
    assert (first.connections, len(second.taken)) == (0, 1)  # whose pause ends first
    assert mux.wait("breaker_closed")["upstream"] == "p1"


def test_breaker__what_fails_behind_ehlo_opens_none(stage):
    provider = stage.provider({"mail": "451 4.3.0 no", "quit": "close"})
    mux = stage.mux([{"url": provider.url, "breaker": breaker(1, LONG)}])
    assert {send_one(mux.port()).code for _ in range(4)} == {451}
    assert not mux.find("breaker_opened") and provider.connections >= 1
