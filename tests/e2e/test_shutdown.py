"""SIGTERM with messages under way, and clients that vanish."""
import signal
import threading

import pytest

from harness import APP, wait_until
from wire import Closed, Wire, message, stuffed

LARGE = b"x" * 998 + b"\r\n"


def begin(mux, mark, body=b"hello\r\n", whole=True):
    """A client whose message was handed over; its reply is to come."""
    wire = Wire(mux.port()).greet()
    assert wire.envelope() is None
    assert wire.command("DATA").code == 354
    octets = stuffed(message(body, mark=mark))
    wire.send(octets if whole else octets[:-3])
    return wire


def test_sigterm__what_is_under_way_is_delivered_once(stage):
    """Twenty messages to a provider that takes a second for each reply to the dot."""
    provider = stage.provider(slow_dot=1.0)
    mux = stage.mux([provider])
    clients = [begin(mux, f"flight-{i}") for i in range(20)]
    wait_until(lambda: len(provider.messages) == 20)
    mux.signal(signal.SIGTERM)
    replies = [client.reply() for client in clients]
    assert {reply.code for reply in replies} == {250}
    assert all(client.is_closed() for client in clients)
    for client in clients:
        client.close()
    assert mux.wait_end() == 0
    marks = sorted(one.data.split(b"Message-ID: <")[1].split(b"@")[0] for one in provider.messages)
    assert marks == sorted(f"flight-{i}".encode() for i in range(20))
    assert len(mux.find("message", outcome="delivered")) == 20
    assert [mux.find(event) != [] for event in ("stopping", "stopped")] == [True, True]


def test_sigterm__idle_sessions_are_told_421(stage):
    mux = stage.mux([stage.provider()])
    with Wire(mux.port()) as idle, Wire(mux.port()) as begun:
        idle.greet()
        begun.greet()
        assert begun.envelope() is None
        mux.signal(signal.SIGTERM)
        assert [reply.code for reply in idle.rest()] == [421]
        assert [reply.code for reply in begun.rest()] == [421]
    assert mux.wait_end(20) == 0


def test_sigterm__no_new_sessions(stage):
    provider = stage.provider(slow_dot=3.0)
    mux = stage.mux([provider])
    with begin(mux, "slow") as client:
        wait_until(lambda: provider.messages)
        mux.signal(signal.SIGTERM)
        mux.wait("stopping")

        def is_refused():
            try:
                with Wire(mux.port(), seconds=5) as other:
                    return other.reply().code == 421
            except (OSError, Closed):
                return True
        wait_until(is_refused, 3, "the listener's end")
        assert client.reply().code == 250
    assert mux.wait_end() == 0


def test_sigterm__silence_behind_the_dot_longer_than_drain_timeout_is_unknown(stage):
    first, second = stage.provider({"after-dot": "stall"}), stage.provider()
    mux = stage.mux([first, second], drain_timeout="1500ms")
    with begin(mux, "unknown") as client:
        wait_until(lambda: first.messages)
        mux.signal(signal.SIGTERM)
        reply = client.reply()
        assert (reply.code, reply.enhanced) in ((451, "4.4.2"), (421, "4.4.2"))
    assert mux.wait_end(20) == 0
    summary = mux.find("message")[0]
    assert (summary["outcome"], summary["attempts"]) == ("unknown", "1")
    assert second.connections == 0


def test_sigterm__a_second_one_ends_at_once(stage):
    provider = stage.provider({"after-dot": "stall"})
    mux = stage.mux([provider])
    with begin(mux, "cut"):
        wait_until(lambda: provider.messages)
        mux.signal(signal.SIGTERM)
        mux.wait("stopping")
        mux.signal(signal.SIGTERM)
        assert mux.wait_end(10) == 75  # EX_TEMPFAIL
    stage.muxes.remove(mux)


# ---- clients that vanish ----

@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("size", [10, 1000, 6000], ids=["10k", "1m", "6m"])
def test_vanished__before_the_dot_leaves_nothing(stage, leave, size):
    provider = stage.provider()
    mux = stage.mux([provider], log={"level": "debug"})
    client = begin(mux, "gone", LARGE * size, whole=False)
    getattr(client, leave)()
    mux.wait("disconnect")
    assert provider.connections == 0 and not provider.messages
    with Wire(mux.port()) as wire:
        assert wire.greet().submit(message(mark="next")).code == 250
    assert len(provider.taken) == 1


def test_vanished__half_a_chunk_leaves_nothing(stage):
    provider = stage.provider()
    mux = stage.mux([provider], log={"level": "debug"})
    with Wire(mux.port()) as wire:
        wire.greet().envelope()
        wire.send(b"BDAT 1000 LAST\r\n" + b"x" * 999)
    mux.wait("disconnect")
    assert provider.connections == 0


@pytest.mark.parametrize("phase", ["banner", "mail", "data"])
def test_vanished__before_the_providers_dot_gives_the_attempt_up(stage, phase):
    """The message is whole, but the provider stalls before it has the dot."""
    first = stage.provider({phase: "stall"}, extensions=["PIPELINING"])
    second = stage.provider()
    mux = stage.mux([first, second])
    client = begin(mux, "gone")
    reached = {"banner": lambda: first.connections, "mail": lambda: "MAIL" in verbs(first),
               "data": lambda: "DATA" in verbs(first)}[phase]
    wait_until(reached)
    client.reset()
    summary = mux.summary()
    assert summary["outcome"] == "client_gone"
    assert not first.messages and second.connections == 0
    wait_until(lambda: not mux.find("message", outcome="delivered"))


def verbs(provider):
    return [verb for session in list(provider.sessions) for verb in session.verbs()]


def test_vanished__behind_the_providers_dot_the_delivery_is_finished(stage):
    provider = stage.provider(slow_dot=1.0)
    mux = stage.mux([provider])
    client = begin(mux, "late")
    wait_until(lambda: provider.messages)
    client.reset()
    summary = mux.summary()
    assert (summary["outcome"], summary["code"]) == ("delivered", "250")
    assert len(provider.messages) == 1


def test_vanished__many_at_once(stage):
    """Clients that leave at random points: whatever was told 250 is there once, nothing twice."""
    provider = stage.provider()
    mux = stage.mux([provider])
    told, lock = [], threading.Lock()

    def one(number):
        octets = stuffed(message(b"x" * 500 + b"\r\n", mark=f"v{number}"))
        with Wire(mux.port()) as wire:
            wire.greet().envelope()
            wire.command("DATA")
            wire.send(octets[:len(octets) * (number % 5) // 4])
            if number % 5 == 4 and wire.reply().code == 250:
                with lock:
                    told.append(number)
    threads = [threading.Thread(target=one, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    marks = [int(one.data.split(b"Message-ID: <v")[1].split(b"@")[0]) for one in provider.messages]
    assert len(told) == 12 and sorted(marks) == sorted(told)


def test_user__without_a_deadline_of_its_own_is_not_cut(stage):
    """The final reply may take longer than the deadline of what is before the dot."""
    provider = stage.provider(slow_dot=2.0)
    mux = stage.mux([provider], users=[{"email": APP, "upstreams": ["p0"], "deadline": "1s"}])
    with begin(mux, "patience") as client:
        assert client.reply().code == 250
