"""The rows of ATTACKS that show on the wire, against the daemon: nothing reaches a provider, and the
next session works. Each runs with its octets in one piece, and cut at random."""
import base64
import os
import random
import resource
import time

import pytest

from harness import APP, wait_until
from wire import Closed, Wire, message, send_one

PASSWORD = "a password of length"


class Scene:
    """A daemon and its provider, used by one attack after the other."""

    def __init__(self, mux, provider):
        self.mux, self.provider = mux, provider

    def taken(self):
        return len(self.provider.messages)


@pytest.fixture(scope="module")
def scene(module_stage):
    provider = module_stage.provider()
    mux = module_stage.mux(
        [provider], users=[{"email": APP, "password": PASSWORD, "upstreams": ["p0"]}],
        listeners=[{}, {"auth": "required", "allow_insecure_auth": True}])
    return Scene(mux, provider)


@pytest.fixture
def nothing_reaches(scene):
    """Around an attack: the provider sees nothing of it, and a message after it arrives."""
    before = scene.taken()
    yield scene
    assert scene.taken() == before, scene.provider.messages[-1]
    mark = f"after-{before}-{random.random()}"
    assert send_one(scene.mux.port(), message(mark=mark)).code == 250
    wait_until(lambda: scene.taken() == before + 1)


def send_cut(wire, octets, rng):
    """In pieces of random sizes, some of one octet."""
    at = 0
    while at < len(octets):
        size = rng.choice((1, 1, 2, 3, 7, 50))
        wire.send(octets[at:at + size])
        at += size


def send_as(wire, octets, how):
    if how == "whole":
        wire.send(octets)
    else:
        send_cut(wire, octets, random.Random(how))


# ---- 1, 2: smuggling ----

SMUGGLED = b"MAIL FROM:<s@evil.test>\r\nRCPT TO:<v@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
ENDS = [b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r",
        b"\r\n.\r\r\n", b"\r\r\n.\r\n", b"\r\n.\0\r\n", b"\0\r\n"]


@pytest.mark.parametrize("how", ["whole", 1])
@pytest.mark.parametrize("end", ENDS, ids=[repr(end)[2:-1] for end in ENDS])
def test_smuggling__one_refusal_and_nothing_relayed(nothing_reaches, end, how):
    with Wire(nothing_reaches.mux.port()) as wire:
        wire.greet().envelope()
        assert wire.command("DATA").code == 354
        send_as(wire, message(b"first") + end + SMUGGLED + b"\r\n.\r\n", how)
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (550, "5.5.2")
        if end != b"\r\r\n.\r\n":  # behind it a true end of data stands, and then commands
            assert wire.command("NOOP").code == 250


@pytest.mark.parametrize("octets", [b"x\r\n\rx\r\n", b"a\nb\r\n", b"a\0b\r\n", b"\r\r\n", b"\n\r\n"])
def test_smuggling__bare_octets_in_a_chunk_are_refused(nothing_reaches, octets):
    with Wire(nothing_reaches.mux.port()) as wire:
        wire.greet()
        for chunk in (1, 1000):
            reply = wire.submit(message(octets), chunk=chunk)
            assert (reply.code, reply.enhanced) == (550, "5.5.2")
        assert wire.submit(message()).code == 250
        nothing_reaches.provider.messages.pop()


@pytest.mark.parametrize("limit", [998, 1024, 4096, 8192, 65536])
def test_smuggling__at_the_edge_of_a_buffer(scene, limit):
    """A dot behind so many octets on one line ends nothing (ATTACKS 5)."""
    with Wire(scene.mux.port()) as wire:
        wire.greet()
        for off in range(-3, 4):
            data = b"a" * (limit + off) + b".\r\n" + SMUGGLED + b"\r\n"
            before = scene.taken()
            assert wire.submit(data).code == 250
            assert scene.taken() == before + 1 and scene.provider.messages[-1].original == data


def test_smuggling__normalized_where_the_listener_says_so(stage):
    provider = stage.provider()
    mux = stage.mux([provider], listeners=[{"bare_newline": "normalize"}])
    with Wire(mux.port()) as wire:
        wire.greet().envelope()
        wire.command("DATA")
        wire.send(b"A: b\n\nx\n.\ny\rz\r\n.\r\n")
        assert wire.reply().code == 250
        assert wire.submit(b"A: b\r\n\r\nx\0y\r\n").code == 550
    assert [one.original for one in provider.messages] == [b"A: b\r\n\r\nx\r\n.\r\ny\r\nz\r\n"]


# ---- 7, 8: BDAT ----

def test_bdat__without_recipients_is_consumed(nothing_reaches):
    with Wire(nothing_reaches.mux.port()) as wire:
        wire.greet().command("MAIL FROM:<a@example.com>")
        wire.send(b"BDAT 6\r\nQUIT\r\n")
        assert wire.reply().code == 503
        assert wire.command("NOOP").code == 250


@pytest.mark.parametrize("number", ["18446744073709551616 LAST", "-1", "0x10", "5 LAST x", "", "x"])
def test_bdat__bad_numbers_end_the_session(nothing_reaches, number):
    with Wire(nothing_reaches.mux.port()) as wire:
        wire.greet().envelope()
        assert wire.command(f"BDAT {number}").code == 501
        assert wire.is_closed()


# ---- 12, 18: pipelining around STARTTLS, AUTH, the banner and QUIT ----

@pytest.fixture(scope="module")
def secured(module_stage, certificates, scene):
    pair = [{"cert": certificates.good.cert, "key": certificates.good.key}]
    mux = module_stage.mux([scene.provider], listeners=[
        {"tls": "starttls", "certificates": pair, "trust": {"127.0.0.0/8": APP}},
        {"tls": "implicit", "certificates": pair, "trust": {"127.0.0.0/8": APP}}])
    return Scene(mux, scene.provider)


def test_starttls__commands_in_the_same_segment_end_the_session(secured, nothing_reaches):
    with Wire(secured.mux.port()) as wire:
        wire.greet().send(b"STARTTLS\r\nMAIL FROM:<i@evil.test>\r\n")
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (554, "5.5.1")
        assert wire.is_closed()


@pytest.mark.parametrize("begun", [["MAIL FROM:<a@example.com>"],
                                   ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"]])
def test_starttls__forgets_the_transaction(secured, nothing_reaches, certificates, begun):
    from certificates import client_context
    with Wire(secured.mux.port()) as wire:
        wire.greet()
        for line in begun:
            assert wire.command(line).code == 250
        reply = wire.command("STARTTLS")
        if reply.code == 220:
            wire.secure(client_context(certificates.ca), starttls=False)
            assert wire.command("RCPT TO:<c@example.net>").code == 503
            wire.ehlo()
            assert wire.command("RCPT TO:<c@example.net>").code == 503
            assert wire.command("STARTTLS").code == 503
        else:
            assert reply.code == 503


def test_starttls__with_an_argument(secured):
    with Wire(secured.mux.port()) as wire:
        assert wire.greet().command("STARTTLS now").code == 501


def test_quit__what_stands_behind_it_is_ignored(nothing_reaches):
    with Wire(nothing_reaches.mux.port()) as wire:
        wire.greet().send(b"QUIT\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        assert [reply.code for reply in wire.rest()] == [221]


def test_auth__commands_in_the_same_segment(nothing_reaches):
    token = base64.b64encode(f"\0{APP}\0{PASSWORD}".encode())
    with Wire(nothing_reaches.mux.port(1)) as wire:
        wire.greet().send(b"AUTH PLAIN " + token + b"\r\nMAIL FROM:<a@example.com>\r\n")
        assert wire.reply().code in (235, 554)


# ---- 19: other protocols ----

@pytest.mark.parametrize("line", ["POST / HTTP/1.1", "GET / HTTP/1.0", "CONNECT mx.test:25 HTTP/1.1"])
def test_cross_protocol__closed_at_the_first_line(nothing_reaches, line):
    with Wire(nothing_reaches.mux.port()) as wire:
        assert wire.reply().code == 220
        wire.send(f"{line}\r\nHost: x\r\nContent-Length: 500\r\n\r\nEHLO a.test\r\n"
                  "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx\r\n.\r\n")
        codes = [reply.code for reply in wire.rest()]
        assert len(codes) <= 1 and 250 not in codes


# ---- 22, 26: AUTH ----

@pytest.mark.parametrize("token, codes", [
    (base64.b64encode(b"\0u\r\nX\0p").decode(), (501, 535)),
    (base64.b64encode(b"\0" + APP.encode() + b"\0").decode(), (501, 535)),
    (base64.b64encode(b"\0\0\0\0").decode(), (501, 535)),
    (base64.b64encode(APP.encode() + b"\0" + PASSWORD.encode()).decode(), (501, 535)),
    (base64.b64encode(b"other@example.com\0" + APP.encode() + b"\0" + PASSWORD.encode()).decode(),
     (501, 535)),
    ("A", (501,)), ("A===", (501,)), ("=", (501, 535)), ("*", (501,)), ("x" * 12_290, (500, 501)),
], ids=["crlf", "no-password", "nuls", "no-authzid", "other-authzid", "short", "padding", "empty", "star",
        "too-long"])
def test_auth__what_is_not_well_formed_is_refused(scene, token, codes):
    with Wire(scene.mux.port(1)) as wire:
        wire.greet()
        assert wire.command(f"AUTH PLAIN {token}").code in codes
        assert wire.envelope().code == 530
    lines = scene.mux.raw
    assert not [line for line in lines if "\r" in line or PASSWORD in line]


def test_auth__star_cancels_and_the_right_one_works_then(scene):
    with Wire(scene.mux.port(1)) as wire:
        wire.greet()
        for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
            reply = wire.command(f"AUTH {mechanism}")
            assert reply.code == 334
            assert wire.command("*").code == 501
        assert wire.command("AUTH CRAM-MD5").code == 504
        assert wire.auth_plain(APP, PASSWORD).code == 235


def test_auth__guessing_ends_the_session(scene):
    started = time.monotonic()
    with Wire(scene.mux.port(1)) as wire:
        wire.greet()
        codes = []
        try:
            for i in range(10):
                codes.append(wire.auth_plain(APP, f"guess{i}").code)
        except (Closed, OSError):
            pass
    assert len(codes) <= 4 and set(codes) <= {535, 421}
    assert time.monotonic() - started > 1  # it is not fast either


# ---- 24, 25: parameters and lines ----

@pytest.mark.parametrize("line, code", [
    ('MAIL FROM:<> "', (501, 555)), ("MAIL FROM:<> =", (501, 555)), ("MAIL FROM:<> SIZE=", (501,)),
    ("MAIL FROM:<> SIZE=18446744073709551616", (501,)), ("MAIL FROM:<> FOO=bar", (555,)),
    ("MAIL FROM:<a@example.com", (501,)), ("MAIL FROM: a@example.com x", (501, 555)),
    ("MAIL FROM:<a\x01@example.com>", (501, 553)), ("MAIL FROM:<ä@example.com>", (501, 553)),
    ("RCPT TO:<b@example.net>", (503,)), ("DATA", (503,)), ("EHLO", (501,)), ("NOPE", (500,)),
    ("EXPN x", (502,)), ("VRFY x", (252,)), ("NOOP x", (250,)), ("HELP", (214, 502)),
])
def test_commands__each_has_its_reply(scene, line, code):
    with Wire(scene.mux.port()) as wire:
        wire.greet()
        assert wire.command(line).code in code
        assert wire.command("NOOP").code == 250


@pytest.mark.parametrize("start, limit", [("NOOP ", 512), ("MAIL FROM:<a@example.com> ", 2048)])
def test_lines__one_octet_over_the_limit(scene, start, limit):
    with Wire(scene.mux.port()) as wire:
        wire.greet()
        for over in (0, 1):
            reply = wire.command(start + "X" * (limit - 2 - len(start) + over))
            assert (reply.code == 500) == bool(over), reply
            wire.command("RSET")


def test_lines__an_endless_one_takes_no_memory(scene):
    before = scene.mux.memory_kib()
    with Wire(scene.mux.port()) as wire:
        wire.greet()
        try:
            for _ in range(64):
                wire.send(b"x" * 1_048_576)
        except OSError:
            pass
        assert scene.mux.memory_kib() - before < 8192  # ASan's own included


def test_lines__a_bare_lf_in_a_command_ends_the_session(nothing_reaches):
    with Wire(nothing_reaches.mux.port()) as wire:
        wire.greet().send(b"NOOP\nMAIL FROM:<a@example.com>\r\n")
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (500, "5.5.2")
        assert wire.is_closed()


def test_lines__octets_of_eight_bits(scene):
    with Wire(scene.mux.port()) as wire:
        wire.greet()
        assert wire.command(b"\x80\x81").code in (500, 501)
        assert wire.command("NOOP").code == 250


# ---- 27: a provider's replies ----

REPLIES = {
    "fewer-dashes": b"553-\r\n553\r\n",
    "two-codes": b"250-a\r\n550 b\r\n",
    "short": b"25\r\n",
    "letters": b"abc\r\n",
    "no-crlf": b"250 ok\n",
    "600": b"650 what\r\n",
    "nul": b"250 o\0k\r\n",
    "many-lines": b"250-x\r\n" * 100_000,
    "long-line": b"250 " + b"x" * 1_048_576 + b"\r\n",
}


@pytest.fixture(scope="module")
def liars(module_stage):
    """Users whose only provider says such things to MAIL."""
    providers = {name: module_stage.provider({"mail": octets}, extensions=["8BITMIME"])
                 for name, octets in REPLIES.items()}
    users = [{"email": f"{name}@example.com", "password": PASSWORD, "upstreams": [name]}
             for name in REPLIES]
    return module_stage.mux(providers, users=users,
                            listeners=[{"auth": "required", "allow_insecure_auth": True}])


@pytest.mark.parametrize("name", [name for name in REPLIES if name not in ("fewer-dashes", "nul")])
def test_reply_parser__a_protocol_error_is_temporary(liars, name):
    started = time.monotonic()
    with Wire(liars.port()) as wire:
        wire.greet().auth_plain(f"{name}@example.com", PASSWORD)
        reply = wire.submit(message())
    assert (reply.code, reply.enhanced) == (451, "4.4.1"), reply
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", ["fewer-dashes", "nul"])
def test_reply_parser__tolerated_or_a_protocol_error_but_never_taken_over(liars, name):
    with Wire(liars.port()) as wire:
        wire.greet().auth_plain(f"{name}@example.com", PASSWORD)
        reply = wire.submit(message())
    assert reply.code // 100 in (4, 5)
    assert all("\0" not in line for line in reply.lines)


# ---- 32: lies about the size ----

def test_size__declared_and_real(stage):
    provider = stage.provider()
    mux = stage.mux([provider], listeners=[{"max_size": 100_000}])
    with Wire(mux.port()) as wire:
        assert wire.greet().offers["SIZE"] == ["100000"]
        reply = wire.envelope(parameters=" SIZE=100001")
        assert (reply.code, reply.enhanced) == (552, "5.3.4")
        assert wire.submit(b"x" * 998 + b"\r\n").code == 250
        reply = wire.submit((b"x" * 998 + b"\r\n") * 2000, parameters=" SIZE=1")
        assert (reply.code, reply.enhanced) == (552, "5.3.4")
        reply = wire.submit((b"x" * 998 + b"\r\n") * 200, chunk=50_000)
        assert reply.code == 552
        assert wire.submit(message()).code == 250
    assert len(provider.messages) == 2


# ---- 34: floods ----

def test_floods__a_thousand_and_one_recipients(scene):
    with Wire(scene.mux.port()) as wire:
        wire.greet().command("MAIL FROM:<a@example.com>")
        wire.send(b"".join(b"RCPT TO:<r%d@example.net>\r\n" % i for i in range(1001)))
        codes = [wire.reply().code for _ in range(1001)]
        assert codes == [250] * 1000 + [452]


def test_floods__commands_without_end(scene):
    """Nobody needs a hundred thousand NOOPs in one session; the daemon lives, whatever it answers."""
    with Wire(scene.mux.port()) as wire:
        wire.greet()
        codes = set()
        try:
            for _ in range(100):
                wire.send(b"NOOP\r\n" * 100)
                for _ in range(100):
                    codes.add(wire.reply().code)
        except (Closed, OSError):
            pass
        assert codes <= {250, 421}


def test_floods__without_descriptors_new_clients_wait(stage):
    """Accepting pauses, which the log says once, those inside go on, and who waited has a turn."""
    provider = stage.provider()
    mux = stage.mux([provider], workers=1)
    inside = Wire(mux.port()).greet()
    assert inside.submit(message()).code == 250  # the connection to the provider is there
    descriptors = len(os.listdir(f"/proc/{mux.process.pid}/fd"))
    limits = resource.prlimit(mux.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(mux.process.pid, resource.RLIMIT_NOFILE, (descriptors + 4, limits[1]))
    clients = [Wire(mux.port()) for _ in range(12)]
    mux.wait("accept_paused")
    assert inside.command("NOOP").code == 250
    for client in clients:  # each that leaves makes room for one that waits
        assert client.reply().code == 220
        client.close()
    assert inside.submit(message(mark="second")).code == 250
    assert len(mux.find("accept_paused")) <= 2
    inside.close()


# ---- 38: the log ----

def test_log__control_octets_are_escaped(scene):
    with Wire(scene.mux.port()) as wire:
        assert wire.reply().code == 220
        wire.command("EHLO %n%s\x1b[2J")
        wire.ehlo()
        wire.submit(b"Message-ID: <\x1b[2J%n\"quoted\"\\>\r\nFrom: a@b.test\r\n\r\nx\r\n")
    line = wait_until(lambda: [line for line in scene.mux.raw if "[2J" in line])[-1]
    assert "\x1b" not in line and "\\x1b[2J%n\\\"quoted\\\"" in line


# ---- 40: relaying ----

@pytest.mark.parametrize("path", ["u%v@us.test", '"u@v"@us.test', "v!u@us.test"])
def test_relaying__odd_paths_are_the_providers_business_and_stay_as_they_are(scene, path):
    before = scene.taken()
    with Wire(scene.mux.port()) as wire:
        assert wire.greet().submit(message(), recipients=(path,)).code == 250
    assert scene.provider.messages[before].rcpt == [f"TO:<{path}>"]


def test_relaying__without_a_user_nobody_sends(scene):
    with Wire(scene.mux.port(1)) as wire:
        reply = wire.greet().envelope()
        assert (reply.code, reply.enhanced) == (530, "5.7.0")
