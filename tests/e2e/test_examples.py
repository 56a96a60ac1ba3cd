"""The programs of examples/, as a newcomer builds and runs them."""
import subprocess
from pathlib import Path

import pytest

from harness import PROGRAM, SANITIZER, wait_until
from wire import Wire, message, stuffed

EXAMPLES = Path(PROGRAM).resolve().parent / "examples"
CARD = b"4111 1111 1111 1111"
CARDS = [b"4111111111111111", CARD, b"4111-1111-1111-1111", b"378282246310005", b"3782 822463 10005",
         b"4222222222222", b"6304000000000000000", b"call 12 4111 1111 1111 1111 now", b"2026-4111111111111111"]
HARMLESS = [b"4111111111111112", b"4111 1111  1111 1111", b"4111\r\n1111 1111 1111", b"411111111111",
            b"41111111111111110000", b"4111.1111.1111.1111", b"4111 1111 1111 111l"]


class Example:
    """One of them at work, on a socket of its own."""

    def __init__(self, name, folder, upstream):
        self.path = str(folder / "smtp.sock")
        self.process = subprocess.Popen(
            [EXAMPLES / name, f"unix:{self.path}", "127.0.0.1", str(upstream.port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(self.listens, 20, f"{name} to listen")

    def listens(self):
        assert self.process.poll() is None, self.process.stderr.read()
        try:
            self.wire().close()
        except OSError:
            return False
        return True

    def wire(self):
        return Wire(0, path=self.path)

    def stop(self):
        """Standard output. A program that does not stop by itself is not looked at for leaks."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=20)
        assert not SANITIZER.search(err.decode()), err.decode()
        return out.decode()


@pytest.fixture
def example(stage, tmp_path):
    made = []

    def start(name):
        upstream = stage.provider()
        made.append(Example(name, tmp_path, upstream))
        return made[-1], upstream
    yield start
    for one in made:
        one.stop()


def last_body(upstream):
    """What the upstream has of the message that is on its way."""
    session = upstream.sessions[-1]
    return bytes(session.body or b"")


def begin(wire):
    assert wire.envelope() is None
    assert wire.command("DATA").code == 354


# ---- proxy_log ----

def test_examples__proxy_log_tells_what_passes(example):
    program, upstream = example("proxy_log")
    with program.wire() as wire:
        wire.greet()
        assert wire.submit(message(), recipients=("a@example.net", "b@example.net")).code == 250
        assert wire.command("QUIT").code == 221
    size = len(message())
    assert upstream.messages[0].data == message()
    assert program.process.stdout.readline().decode() == (
        f"<from@example.com> to <a@example.net> <b@example.net>: {size} octets, relayed, 250\n")


# ---- proxy_dlp ----

@pytest.mark.parametrize("number", CARDS, ids=lambda n: n.decode())
def test_examples__proxy_dlp_refuses_a_card(example, number):
    program, upstream = example("proxy_dlp")
    with program.wire() as wire:
        reply = wire.greet().submit(message(b"Here: " + number + b".\r\nBye\r\n"))
        assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert upstream.messages == []


@pytest.mark.parametrize("number", HARMLESS, ids=lambda n: repr(n)[2:-1])
def test_examples__proxy_dlp_lets_other_numbers_pass(example, number):
    program, upstream = example("proxy_dlp")
    text = message(b"Here: " + number + b".\r\n.\r\n..dots\r\n\r\nBye\r\n")
    with program.wire() as wire:
        assert wire.greet().submit(text).code == 250
    assert [one.data for one in upstream.messages] == [text]


def test_examples__proxy_dlp_passes_a_large_message_octet_for_octet(example):
    program, upstream = example("proxy_dlp")
    text = message(b"".join(b"%07d ..line of a long text\r\n" % (i * 7) for i in range(20000)))
    with program.wire() as wire:
        assert wire.greet().submit(text).code == 250
    taken, = upstream.messages
    assert taken.octets + b".\r\n" == stuffed(text)


@pytest.mark.parametrize("split", range(1, len(CARD)))
def test_examples__proxy_dlp_finds_a_card_between_two_writes(example, split):
    program, upstream = example("proxy_dlp")
    with program.wire() as wire:
        begin(wire.greet())
        wire.send(message(b"Here: " + CARD[:split]))
        wait_until(lambda: last_body(upstream).endswith(CARD[:split]), 20, "the first part to pass")
        wire.send(CARD[split:] + b"\r\n.\r\n")
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (550, "5.7.1")
    wait_until(lambda: upstream.sessions[-1].ended, 20, "the upstream to be given up")
    assert upstream.messages == []


def test_examples__proxy_dlp_finds_a_card_in_chunks_of_one_octet(example):
    program, upstream = example("proxy_dlp")
    with program.wire() as wire:
        wire.greet()
        assert wire.submit(message(CARD), chunk=1).code == 550
    assert upstream.messages == []


def test_examples__proxy_dlp_forgets_the_message_before(example):
    program, upstream = example("proxy_dlp")
    head = message(b"Here: ")
    with program.wire() as wire:
        wire.greet()
        assert wire.submit(head + CARD[:9], chunk=100000).code == 250
        assert wire.submit(head + CARD[9:], chunk=100000).code == 250
        assert wire.submit(head + CARD, chunk=100000).code == 550
        assert wire.command("NOOP").code == 421
    assert len(upstream.messages) == 2


def test_examples__proxy_dlp_is_for_each_session_alone(example):
    program, upstream = example("proxy_dlp")
    with program.wire() as one, program.wire() as other:
        begin(one.greet())
        begin(other.greet())
        one.send(message(b"Here: " + CARD[:9]))
        wait_until(lambda: any(bytes(s.body or b"").endswith(CARD[:9]) for s in upstream.sessions),
                   20, "the first half to pass")
        other.send(message(CARD[9:] + b"\r\n") + b".\r\n")
        assert other.reply().code == 250
        one.send(CARD[9:] + b"\r\n.\r\n")
        assert one.reply().code == 550
