"""The transparent proxy when one side dies at any octet of a session: the other side is told in SMTP
or closed within a second, what it heard before is a beginning of what the dead one said, and nothing of
the session stays in the proxy."""
import os
import re
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from certificates import client_context, server_context
from harness import HOSTNAME, wait_until

CLIENT, UPSTREAM = "client", "upstream"
CLOSE, RESET, HALF = "close", "reset", "half"
PATIENCE = 20
TOLD_WITHIN = 1.0  # seconds; a machine may stop for a while once, but not at the same octet twice
REPLIES = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n")

# Who says what. What stands in one step passes before the next one begins; a step is made of commands,
# or of their replies.
SESSION = (
    (UPSTREAM, b"220 up.test ESMTP\r\n"),
    (CLIENT, b"EHLO c.test\r\n"),
    (UPSTREAM, b"250-up.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n"),
    (CLIENT, b"AUTH PLAIN\r\n"),
    (UPSTREAM, b"334 \r\n"),
    (CLIENT, b"AGEAYg==\r\n"),
    (UPSTREAM, b"235 2.7.0 ok\r\n"),
    (CLIENT, b"MAIL FROM:<a@c.test>\r\n"),
    (UPSTREAM, b"250 2.1.0 ok\r\n"),
    (CLIENT, b"RCPT TO:<b@up.test>\r\n", b"RCPT TO:<c@up.test>\r\n"),
    (UPSTREAM, b"250 2.1.5 ok\r\n", b"550-5.1.1 no\r\n550 5.1.1 body\r\n"),
    (CLIENT, b"DATA\r\n"),
    (UPSTREAM, b"354 go on\r\n"),
    (CLIENT, b"Subject: x\r\n\r\n..one\r\n.two\r\n\r\n.\r\n"),
    (UPSTREAM, b"250 2.0.0 kept\r\n"),
    (CLIENT, b"MAIL FROM:<>\r\n", b"RCPT TO:<b@up.test>\r\n"),
    (UPSTREAM, b"250 2.1.0 ok\r\n", b"250 2.1.5 ok\r\n"),
    (CLIENT, b"BDAT 6\r\n.\r\n1\r\n"),
    (UPSTREAM, b"250 2.0.0 6\r\n"),
    (CLIENT, b"BDAT 3 LAST\r\n2\r\n"),
    (UPSTREAM, b"250 2.0.0 kept\r\n"),
    (CLIENT, b"XYZZY a  b\r\n"),
    (UPSTREAM, b"500 5.5.2 what\r\n"),
    (CLIENT, b"QUIT\r\n"),
    (UPSTREAM, b"221 2.0.0 bye\r\n"),
)
BOUNDARIES = [0]
for _, *said in SESSION:
    BOUNDARIES.append(BOUNDARIES[-1] + sum(map(len, said)))
LENGTH = BOUNDARIES[-1]


class Slow(Exception):
    """It came right, but late."""


def die(sock, kind):
    if kind == HALF:
        (sock.unwrap if isinstance(sock, Unwrapping) else lambda: sock.shutdown(socket.SHUT_WR))()
        return
    if kind == RESET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Unwrapping:
    """A side in TLS; its end is a close_notify and the end of the socket's own side."""

    def __init__(self, sock):
        self.sock = sock

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def unwrap(self):
        """The other side's answer is not awaited, but may have ended the connection already."""
        self.sock.setblocking(False)
        try:
            self.sock.unwrap()
        except (ssl.SSLError, OSError):
            pass
        self.sock.settimeout(PATIENCE)
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError:
            pass


class Play:
    """One session of the script, up to a death."""

    def __init__(self, stand):
        self.stand = stand
        self.sides = {}
        self.heard = {CLIENT: b"", UPSTREAM: b""}
        self.said = {CLIENT: b"", UPSTREAM: b""}
        client = socket.create_connection(("127.0.0.1", stand.port), timeout=PATIENCE)
        self.sides[CLIENT] = stand.dress(CLIENT, client)
        upstream, _ = stand.listening.accept()
        upstream.settimeout(PATIENCE)
        self.sides[UPSTREAM] = stand.dress(UPSTREAM, upstream)
        for side in self.sides.values():
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        for side in self.sides.values():
            side.close()

    def say(self, who, octets):
        self.said[who] += octets
        if octets:
            self.sides[who].sendall(octets)

    def hear(self, who, count):
        """Reads until `who` heard so many octets more."""
        end = len(self.heard[who]) + count
        while len(self.heard[who]) < end:
            octets = self.sides[who].recv(4096)
            assert octets, f"{who} is closed after {self.heard[who]!r}"
            self.heard[who] += octets

    def step(self, who, octets):
        """Says it all, and sees it pass."""
        self.say(who, octets)
        other = CLIENT if who == UPSTREAM else UPSTREAM
        before = len(self.heard[other])
        self.hear(other, len(octets))
        assert self.heard[other][before:] == octets

    def begin(self):
        """What comes before the session where a side begins TLS itself; the script's place after it."""
        stand = self.stand
        if not stand.begins_tls():
            return 0
        (_, banner), (_, hello), (_, offers) = SESSION[:3]
        self.step(UPSTREAM, banner)
        self.say(CLIENT, hello)
        self.hear(UPSTREAM, len(hello))
        if stand.upstream == "smtp+tls":
            self.upstream_begins_tls(offers)
            self.hear(UPSTREAM, len(hello))
        if stand.client_tls == "starttls":
            self.say(UPSTREAM, offers)
            self.client_begins_tls()
        self.heard = {CLIENT: b"", UPSTREAM: b""}
        self.said = {CLIENT: b"", UPSTREAM: b""}
        return 1 if stand.client_tls == "starttls" else 2

    def upstream_begins_tls(self, offers, secure=True):
        self.say(UPSTREAM, offers[:-len(b"250 AUTH PLAIN\r\n")] + b"250 STARTTLS\r\n")
        self.hear(UPSTREAM, len(b"STARTTLS\r\n"))
        assert self.heard[UPSTREAM].endswith(b"STARTTLS\r\n")
        self.say(UPSTREAM, b"220 go\r\n")
        if secure:
            self.sides[UPSTREAM] = self.stand.secure(UPSTREAM, self.sides[UPSTREAM])

    def client_begins_tls(self, secure=True):
        while not re.search(rb"(?m)^250 .*\r\n\Z", self.heard[CLIENT]):
            self.hear(CLIENT, 1)
        assert b"STARTTLS\r\n" in self.heard[CLIENT]
        self.say(CLIENT, b"STARTTLS\r\n")
        while not re.search(rb"(?m)^220 .*\r\n\Z", self.heard[CLIENT].split(b"STARTTLS\r\n")[1]):
            self.hear(CLIENT, 1)
        if secure:
            self.sides[CLIENT] = self.stand.secure(CLIENT, self.sides[CLIENT])

    def drain(self, who):
        """All that `who` still hears, to the end of its connection."""
        try:
            while True:
                octets = self.sides[who].recv(4096)
                if not octets:
                    return
                self.heard[who] += octets
        except (ConnectionError, ssl.SSLError):
            pass

    def answer_and_drain(self, owed):
        """What an upstream does that still owes replies: it gives them, and hears the end."""
        try:
            self.say(UPSTREAM, owed)
        except OSError:
            pass
        self.drain(UPSTREAM)


def is_beginning(beginning, whole):
    return whole[:len(beginning)] == beginning


class Stand:
    """A proxy, its upstream's socket, and what each side wears."""

    def __init__(self, stage, certificates, client_tls="off", upstream="smtp"):
        self.client_tls, self.upstream = client_tls, upstream
        self.certificates = certificates
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(PATIENCE)
        listener = {"mode": "proxy", "tls": client_tls, "allow_insecure_auth": True,
                    "upstream": {"url": f"{upstream}://127.0.0.1:{self.listening.getsockname()[1]}",
                                 "ca": certificates.ca}}
        if upstream == "smtp":
            listener["upstream"] = listener["upstream"]["url"]
        if client_tls not in ("off", "passthrough"):
            listener["certificates"] = [{"cert": certificates.good.cert, "key": certificates.good.key}]
        self.proxy = stage.serve({"hostname": HOSTNAME, "workers": 1, "listeners": [
            {"listen": "127.0.0.1:0", **listener}], "log": {"level": "info"}})
        self.port = self.proxy.port()
        self.descriptors = self.count_descriptors()

    def count_descriptors(self):
        """The sockets: of the other descriptors the daemon opens some with its first client."""
        count = 0
        for link in Path(f"/proc/{self.proxy.process.pid}/fd").iterdir():
            try:
                count += os.readlink(link).startswith("socket:")
            except FileNotFoundError:
                pass  # it was closed just now
        return count

    def expect_nothing_left(self):
        wait_until(lambda: self.count_descriptors() == self.descriptors, 20,
                   "the number of descriptors from before")

    def dress(self, side, sock):
        """The socket as the script's octets go over it."""
        if (side, "implicit") == (CLIENT, self.client_tls) or (side, "smtps") == (
                UPSTREAM, self.upstream):
            return self.secure(side, sock)
        return sock

    def secure(self, side, sock):
        if side == CLIENT:
            return Unwrapping(client_context(self.certificates.ca).wrap_socket(
                sock, server_hostname="localhost"))
        return Unwrapping(server_context(self.certificates.good).wrap_socket(sock, server_side=True))

    def begins_tls(self):
        return self.client_tls == "starttls" or self.upstream == "smtp+tls"

    def first_octet(self):
        """Of the session, once what Play.begin does is done."""
        return BOUNDARIES[(1 if self.client_tls == "starttls" else 2) if self.begins_tls() else 0]


def owed_replies(step, within):
    """What the upstream still owes when so much of this step was said: the replies to the commands
    that came whole."""
    if step >= len(SESSION):
        return b""
    who, *said = SESSION[step]
    if who == UPSTREAM:
        return b"".join(said)[within:]
    whole = 0
    while whole < len(said) and within >= len(said[whole]):
        within -= len(said[whole])
        whole += 1
    return b"".join(SESSION[step + 1][1:whole + 1])


def position(at):
    """The step, and how many of its octets are said, at this octet of the session."""
    step = 0
    while step < len(SESSION) and BOUNDARIES[step + 1] <= at:
        step += 1
    return step, at - BOUNDARIES[step]


def check_client(play, at, said_before):
    """What a client heard whose upstream died: replies as they came, and then perhaps a 421."""
    heard = play.heard[CLIENT]
    assert REPLIES.sub(b"", heard) == b"", f"no replies: {heard!r}"
    last = heard[len(said_before):]
    assert is_beginning(said_before, heard), (said_before, heard)
    assert last == b"" or re.fullmatch(rb"(421|221) [^\r\n]*\r\n", last), (at, last)


def whole_replies(octets):
    return b"".join(REPLIES.findall(octets))


def run(stand, at, victim, kind):
    """One session that ends so; raises AssertionError, or Slow."""
    play = Play(stand)
    try:
        step, within = position(at)
        for who, *said in SESSION[play.begin():step]:
            play.step(who, b"".join(said))
        if within:
            play.say(SESSION[step][0], b"".join(SESSION[step][1:])[:within])
        die(play.sides[victim], kind)
        began = time.monotonic()
        if victim == UPSTREAM:
            play.drain(CLIENT)
            check_client(play, at, whole_replies(play.said[UPSTREAM]))
        else:
            # A client that closed its side may be listening still: it is served to its end.
            play.answer_and_drain(owed_replies(step, within) if kind != RESET else b"")
            heard = play.heard[UPSTREAM]
            assert is_beginning(heard, play.said[CLIENT]), (heard, play.said[CLIENT])
        if time.monotonic() - began > TOLD_WITHIN:
            raise Slow(f"{time.monotonic() - began:.1f} s at octet {at}, {victim}, {kind}")
    finally:
        play.close()


def again(what, play, *arguments):
    """Plays it, and once more if it was slow."""
    try:
        try:
            play(*arguments)
        except Slow:
            play(*arguments)
    except (AssertionError, OSError, Slow) as problem:
        raise AssertionError(f"{what}: {problem}") from problem


def sweep(stand, octets, victims=(CLIENT, UPSTREAM), kinds=(CLOSE, RESET, HALF)):
    for at in octets:
        for victim in victims:
            for kind in kinds:
                again(f"the {victim}'s {kind} at octet {at}", run, stand, at, victim, kind)
    stand.expect_nothing_left()


@pytest.mark.parametrize("victim", [CLIENT, UPSTREAM])
@pytest.mark.parametrize("kind", [CLOSE, RESET, HALF])
def test_a_side_dies_at_every_octet(stage, certificates, victim, kind):
    stand = Stand(stage, certificates)
    sweep(stand, range(LENGTH + 1), [victim], [kind])


@pytest.mark.parametrize("client_tls, upstream", [
    ("implicit", "smtp"), ("off", "smtps"), ("implicit", "smtps"), ("starttls", "smtp"),
    ("off", "smtp+tls"), ("starttls", "smtp+tls"), ("passthrough", "smtp")])
def test_a_side_dies_between_two_steps_in_tls(stage, certificates, client_tls, upstream):
    stand = Stand(stage, certificates, client_tls, upstream)
    sweep(stand, [at for at in BOUNDARIES if at >= stand.first_octet()])


def first_flight(stand, side, sock):
    """The octets with which this side answers, or begins, a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    if side == CLIENT:
        tls = client_context(stand.certificates.ca).wrap_bio(incoming, outgoing,
                                                             server_hostname="localhost")
    else:
        tls = server_context(stand.certificates.good).wrap_bio(incoming, outgoing, server_side=True)
    while not outgoing.pending:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            if not outgoing.pending:
                incoming.write(sock.recv(16384))
    return outgoing.read()


def die_in_handshake(stand, handshaking, cut, victim, kind):
    """`handshaking` said this part of its first flight when the victim dies."""
    play = Play(stand)
    other = CLIENT if victim == UPSTREAM else UPSTREAM
    (_, banner), (_, hello), (_, offers) = SESSION[:3]
    try:
        play.step(UPSTREAM, banner)
        play.say(CLIENT, hello)
        play.hear(UPSTREAM, len(hello))
        if handshaking == UPSTREAM:
            play.upstream_begins_tls(offers, secure=False)
        else:
            play.say(UPSTREAM, offers)
            play.client_begins_tls(secure=False)
        play.heard[CLIENT] = b""
        flight = first_flight(stand, handshaking, play.sides[handshaking])
        play.say(handshaking, flight[:len(flight) * cut // 8])
        die(play.sides[victim], kind)
        began = time.monotonic()
        play.drain(other)
        if other == CLIENT and handshaking == UPSTREAM:
            assert re.fullmatch(rb"(4\d\d [^\r\n]*\r\n)?", play.heard[CLIENT]), play.heard[CLIENT]
        if time.monotonic() - began > TOLD_WITHIN:
            raise Slow(f"{time.monotonic() - began:.1f} s")
    finally:
        play.close()


@pytest.mark.parametrize("client_tls, upstream, handshaking",
                         [("starttls", "smtp", CLIENT), ("off", "smtp+tls", UPSTREAM)])
def test_a_side_dies_within_a_handshake(stage, certificates, client_tls, upstream, handshaking):
    stand = Stand(stage, certificates, client_tls, upstream)
    for cut in range(8):
        for victim in (CLIENT, UPSTREAM):
            for kind in (CLOSE, RESET, HALF):
                if (victim, handshaking) == (CLIENT, UPSTREAM) and kind != RESET:
                    continue  # it may be listening still, and the upstream has not failed yet
                at = f"the {victim}'s {kind} at {cut}/8 of the {handshaking}'s first flight"
                again(at, die_in_handshake, stand, handshaking, cut, victim, kind)
    stand.expect_nothing_left()
