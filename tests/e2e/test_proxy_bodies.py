"""Bodies through the transparent proxy: the octets that leave it are those that came, dots and all; what
one side could take for something else does not pass; and however large one is, the proxy keeps little
of it."""
import random
import re
import threading

import pytest

from harness import wait_until
from octet_sink import Sink, proxy_config, proxy_listener
from wire import Wire, stuffed

REJECT, PASS = range(2)
TWENTY_MB = 20 * 1024 * 1024
GROWTH_KIB = 20 * 1024
HELPS = 500  # their replies are 30 MB


@pytest.fixture(scope="module")
def sink():
    one = Sink()
    yield one
    one.close()


@pytest.fixture(scope="module")
def proxy(module_stage, sink):
    return module_stage.serve(proxy_config(proxy_listener(sink.port),
                                           proxy_listener(sink.port, bare_newline="pass")))


def opened(proxy, listener=REJECT, mail="MAIL FROM:<a@example.com>"):
    """A session up to its first recipient."""
    wire = Wire(proxy.port(listener))
    wire.greet()
    assert wire.command(mail).code == 250
    assert wire.command("RCPT TO:<b@example.net>").code == 250
    return wire


def send_in_pieces(wire, octets, chance):
    at = 0
    while at < len(octets):
        size = chance.choice((1, 2, 3, 100, 4096, 70_000))
        wire.send(octets[at:at + size])
        at += size


def lines_by_chance(chance, count):
    """Lines of any octets but NUL, CR and LF, many of them dots."""
    others = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")

    def line():
        size = chance.choice((0, 0, 1, 2, 78, 998, 5000))
        return chance.choice((b"", b"", b".", b"..", b"...")) + bytes(chance.choices(others, k=size))

    return b"".join(line() + b"\r\n" for _ in range(count))


# ---- DATA ----

@pytest.mark.parametrize("seed", range(8))
def test_data__octets_by_chance_pass_as_they_are(proxy, sink, seed):
    chance = random.Random(seed)
    wire = opened(proxy)
    octets = stuffed(lines_by_chance(chance, chance.choice((0, 1, 50, 400))))
    with wire:
        assert wire.command("DATA").code == 354
        send_in_pieces(wire, octets, chance)
        assert wire.reply().code == 250
        assert wire.command("QUIT").code == 221
    assert sink.ended.wait(20)
    assert sink.body == octets


@pytest.mark.parametrize("octets", [
    b".\r\n", b"..\r\n.\r\n", b"\r\n.\r\n", b".x\r\n.\r\n", b"...\r\n..\r\n\r\n\r\n.\r\n",
    b"x" * 200_000 + b"\r\n.\r\n", b"\r\n" * 30_000 + b".\r\n",
    b"From: a\r\n.unstuffed dot\r\n.\r\n",
], ids=["nothing", "dot", "empty", "unstuffed", "dots", "a-long-line", "empty-lines", "not-stuffed"])
def test_data__forms_of_dots_and_lines_pass_as_they_are(proxy, sink, octets):
    with opened(proxy) as wire:
        assert wire.command("DATA").code == 354
        wire.send(octets)
        assert wire.reply().code == 250
        assert wire.command("QUIT").code == 221
    assert sink.ended.wait(20)
    assert sink.body == octets


DOUBTFUL_END = b"a\r\r\n.\r\n"  # might the client go on with the message? The session ends at once
BARE = [b"a\nb\r\n.\r\n", b"a\rb\r\n.\r\n", b"a\n.\r\nMAIL FROM:<evil@example.com>\r\n.\r\n",
        b"a\r\n.\nMAIL FROM:<evil@example.com>\r\n.\r\n", b"a\r\n.\r.\r\n.\r\n", DOUBTFUL_END,
        b"a\0b\r\n.\r\n"]
NAMES = ["lf", "cr", "lf-dot-crlf", "crlf-dot-lf", "dot-cr", "cr-crlf", "nul"]


@pytest.mark.parametrize("octets", BARE, ids=NAMES)
def test_data__with_a_bare_newline_is_refused_and_has_no_end_behind_the_proxy(proxy, sink, octets):
    with opened(proxy) as wire:
        assert wire.command("DATA").code == 354
        wire.send(octets)
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (550, "5.5.2")
        if octets != DOUBTFUL_END:
            assert wire.command("MAIL FROM:<next@example.com>").code == 421
        assert wire.is_closed()
    assert sink.ended.wait(20)
    assert octets[:re.search(rb"\0|(?<!\r)\n|\r(?!\n)", octets).start()].startswith(sink.body)
    assert not any(b"evil" in line for line in sink.commands)


@pytest.mark.parametrize("octets", BARE[:2] + BARE[4:5] + BARE[6:], ids=NAMES[:2] + NAMES[4:5] + NAMES[6:])
def test_data__with_a_bare_newline_passes_where_it_may(proxy, sink, octets):
    with opened(proxy, PASS) as wire:
        assert wire.command("DATA").code == 354
        wire.send(octets)
        assert wire.reply().code == 250
        assert wire.command("QUIT").code == 221
    assert sink.ended.wait(20)
    assert sink.body == octets


# ---- BDAT ----

def chunked(octets, chance):
    """Commands of BDAT, all in one, and how many."""
    out, at, count = [], 0, 0
    while True:
        size = min(chance.choice((0, 1, 500, 70_000)), len(octets) - at)
        last = at + size == len(octets)
        out.append(b"BDAT %d%s\r\n" % (size, b" LAST" if last else b"") + octets[at:at + size])
        at, count = at + size, count + 1
        if last:
            return b"".join(out), count


@pytest.mark.parametrize("seed", range(8))
def test_bdat__binary_octets_pass_as_they_are(proxy, sink, seed):
    chance = random.Random(seed)
    octets = chance.randbytes(chance.choice((0, 1, 1000, 300_000))) + b"\0\r\n.\r\n\n\r\r.\n"
    commands, count = chunked(octets, chance)
    with opened(proxy, mail="MAIL FROM:<a@example.com> BODY=BINARYMIME") as wire:
        sender = threading.Thread(target=send_in_pieces, args=(wire, commands, chance))
        sender.start()
        for _ in range(count):
            assert wire.reply().code == 250
        sender.join(20)
        assert wire.command("QUIT").code == 221
    assert sink.ended.wait(20)
    assert sink.body == octets


@pytest.mark.parametrize("octets", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n"], ids=["lf", "cr", "nul"])
def test_bdat__of_text_with_a_bare_newline_is_refused(proxy, sink, octets):
    with opened(proxy) as wire:
        wire.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (550, "5.5.2")
        assert wire.command("QUIT").code == 221
    assert sink.ended.wait(20)
    assert len(sink.body) < len(octets)


def test_bdat__text_in_chunks_cut_between_cr_and_lf_passes(proxy, sink):
    octets = b"a\r\n.\r\nb\r\n"
    with opened(proxy) as wire:
        for octet in octets[:-1]:
            wire.send(b"BDAT 1\r\n%c" % octet)
            assert wire.reply().code == 250
        wire.send(b"BDAT 1 LAST\r\n\n")
        assert wire.reply().code == 250
        assert wire.command("QUIT").code == 221
    assert sink.ended.wait(20)
    assert sink.body == octets


# ---- large ----

def large_body():
    line = b"." + b"0123456789abcdef" * 4 + b"\r\n"
    return line * (TWENTY_MB // len(line)) + b".\r\n"


def test_large__a_slow_server_holds_the_client_up_and_not_the_proxys_memory(stage):
    sink = Sink(receive_buffer=65536)
    proxy = stage.serve(proxy_config(proxy_listener(sink.port)))
    octets = large_body()
    try:
        with opened(proxy) as wire:
            sink.gate.clear()
            assert wire.command("DATA").code == 354
            before = proxy.memory_kib()
            sent = []

            def send():
                for at in range(0, len(octets), 65536):
                    wire.send(octets[at:at + 65536])
                    sent.append(at)

            sender = threading.Thread(target=send)
            sender.start()
            # All that sockets take in between is full when nothing moves any more.
            still = [0, -1]
            wait_until(lambda: is_still(still, len(sent)), 30, "a client that is held up")
            assert sender.is_alive() and len(sent) * 65536 < TWENTY_MB // 2
            assert proxy.memory_kib() - before < GROWTH_KIB
            sink.gate.set()
            most = 0
            while sender.is_alive():
                most = max(most, proxy.memory_kib() - before)
                sender.join(0.01)
            assert wire.reply().code == 250
            assert most < GROWTH_KIB
            assert wire.command("QUIT").code == 221
        assert sink.ended.wait(20)
        assert sink.body == octets
    finally:
        sink.close()


def is_still(state, now):
    """Nothing has changed in 60 looks."""
    state[0] = state[0] + 1 if state[1] == now else 0
    state[1] = now
    return state[0] > 60


def test_large__a_slow_client_holds_the_server_up(stage):
    """Replies of a server that says much to a client that reads nothing stay with the server."""
    said = b"".join(b"214-%s\r\n" % (b"y" * 1000) for _ in range(60)) + b"214 end\r\n"
    sink = Sink()
    sink.HELP = said
    proxy = stage.serve(proxy_config(proxy_listener(sink.port)))
    try:
        with Wire(proxy.port()) as wire:
            assert wire.reply().code == 220
            before = proxy.memory_kib()
            sent = []

            def send():
                for number in range(HELPS):
                    wire.send(b"HELP\r\n")
                    sent.append(number)

            sender = threading.Thread(target=send)
            sender.start()
            still = [0, -1]
            wait_until(lambda: is_still(still, len(sink.commands)), 30, "a server that is held up")
            assert proxy.memory_kib() - before < GROWTH_KIB
            assert len(sink.commands) < HELPS  # the kernel takes much, but not all
            left = HELPS * len(said)
            while left > 0:
                octets = wire.sock.recv(1 << 20)
                assert octets, f"{left} octets were lost"
                left -= len(octets)
            assert proxy.memory_kib() - before < GROWTH_KIB
            sender.join(20)
            assert wire.command("QUIT").code == 221
    finally:
        sink.close()
