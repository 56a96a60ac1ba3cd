"""Shares over workers (DESIGN 1.7, 4.10): turns are exact, a connection at a time means one, and
whoever waits for it gets it in turn."""
import concurrent.futures
import threading

import pytest

from harness import APP
from wire import Wire, message, stuffed

WEIGHTS = {"p0": 5, "p1": 3, "p2": 2}
# Smooth: each time the one with the highest credit, which then pays for all.
SMOOTH = ["p0", "p1", "p2", "p0", "p0", "p1", "p0", "p2", "p1", "p0"]


def weighted_user(selector, weights):
    return [{"email": APP, "selector": selector,
             "upstreams": [{name: weight} for name, weight in weights.items()]}]


def smooth_order(weights, count):
    """The sequence, worked out anew."""
    credit, order = dict.fromkeys(weights, 0), []
    for _ in range(count):
        for name, weight in weights.items():
            credit[name] += weight
        chosen = max(credit, key=credit.get)
        credit[chosen] -= sum(weights.values())
        order.append(chosen)
    return order


def run_sessions(mux, sessions, count, all_wait=lambda: None):
    """Sessions that send at the same time; (session, nth, reply) in the order of the replies.
    `all_wait` is called when each has sent its first message."""
    done, lock = [], threading.Lock()
    barrier = threading.Barrier(sessions, all_wait)

    def session(number):
        with Wire(mux.port(), seconds=90) as wire:
            wire.greet()
            for nth in range(count):
                assert wire.envelope() is None and wire.command("DATA").code == 354
                wire.send(stuffed(message(mark=f"s{number}.{nth}")))
                if nth == 0:
                    barrier.wait(60)
                reply = wire.reply()
                with lock:
                    done.append((number, nth, reply))
    with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
        for one in [pool.submit(session, number) for number in range(sessions)]:
            one.result()
    return done


@pytest.mark.parametrize("selector", ["round-robin", "weighted"])
def test_weights__the_order_is_smooth_and_exact(stage, selector):
    mux = stage.mux([stage.provider() for _ in WEIGHTS], users=weighted_user(selector, WEIGHTS))
    assert {reply.code for _, _, reply in run_sessions(mux, 1, 20)} == {250}
    order = [line["upstream"] for line in mux.wait("message", 20)]
    assert order == smooth_order(WEIGHTS, 20) and order[:10] == SMOOTH


@pytest.mark.parametrize("selector", ["round-robin", "weighted"])
def test_weights__a_thousand_messages_of_16_sessions_over_4_workers(stage, selector):
    providers = [stage.provider() for _ in WEIGHTS]
    mux = stage.mux(providers, users=weighted_user(selector, WEIGHTS), workers=4)
    done = run_sessions(mux, 16, 1000 // 16) + run_sessions(mux, 1, 1000 % 16)
    assert len(done) == 1000 and {reply.code for _, _, reply in done} == {250}
    assert [len(one.taken) for one in providers] == [500, 300, 200]
    # Turns are taken before deliveries end, in any order among those at the same time: the log differs
    # from the sequence by no more than these.
    counts, most = dict.fromkeys(WEIGHTS, 0), 0
    for number, line in enumerate(mux.wait("message", 1000)):
        counts[line["upstream"]] += 1
        most = max(most, *(abs(counts[name] - (number + 1) * weight / 10)
                           for name, weight in WEIGHTS.items()))
    assert most <= 16 + 1


def test_permits__one_connection_at_a_time_and_nobody_starves(stage):
    """4 workers and 32 sessions want the one connection: whoever waits is served in turn."""
    all_wait = threading.Event()
    provider = stage.provider({"mail": lambda _: all_wait.wait(60) and None})
    mux = stage.mux([{"url": provider.url, "max_connections": 1}], workers=4)
    done = run_sessions(mux, 32, 6, all_wait.set)
    assert len(done) == 192 and {reply.code for _, _, reply in done} == {250}
    assert (len(provider.taken), provider.most_open) == (192, 1)
    firsts = [at for at, (_, nth, _) in enumerate(done) if nth == 0]
    thirds = [at for at, (_, nth, _) in enumerate(done) if nth == 2]
    assert max(firsts) < min(thirds)
    assert {line["attempts"] for line in mux.wait("message", 192)} == {"1"}


@pytest.mark.parametrize("most", [2, 3])
def test_permits__a_cap_holds_over_all_workers(stage, most):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "max_connections": most}], workers=4)
    done = run_sessions(mux, 24, 8)
    assert {reply.code for _, _, reply in done} == {250}
    assert (len(provider.taken), provider.most_open) == (192, most)
