"""What an upstream's keys do, against real peers: client certificates, pinned keys, source address, family
of addresses, Unix sockets, LMTP."""
import base64
import hashlib
import socketserver
import ssl
import subprocess
import threading

import pytest

from certificates import server_context
from harness import APP
from wire import Wire, send_one

SECRET = "a long secret"


def pin_of(kind):
    """As `openssl` tells it, not by code of ours."""
    der = subprocess.run(["openssl", "x509", "-in", kind.cert, "-noout", "-pubkey"], check=True,
                         capture_output=True).stdout
    spki = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=der, check=True,
                          capture_output=True).stdout
    return "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


# ---- certificates of ours and keys of theirs ----

@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("shown, taken", [("client", 1), (None, 0), ("self_signed", 0)])
def test_client_cert__is_shown_to_a_server_that_demands_one(stage, certificates, tls, shown, taken):
    context = server_context(certificates.good)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca)
    first = stage.provider(tls=tls, context=context, name="localhost")
    second = stage.provider()
    options = {"url": first.url, "ca": certificates.ca}
    if shown:
        pair = getattr(certificates, shown)
        options.update(client_cert=pair.cert, client_key=pair.key)
    mux = stage.mux([options, second])
    assert send_one(mux.port()).code == 250
    assert (len(first.taken), len(second.taken)) == (taken, 1 - taken)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("pins, taken", [(["good"], 1), (["other", "good"], 1), (["other"], 0)])
def test_pin__one_of_the_keys_or_none(stage, certificates, tls, pins, taken):
    first = stage.provider(tls=tls, context=server_context(certificates.good), name="localhost")
    second = stage.provider()
    pins = [pin_of(getattr(certificates, kind)) for kind in pins]
    mux = stage.mux([{"url": first.url, "ca": certificates.ca, "pin": pins}, second])
    for _ in range(2):  # the second time by a session that is resumed, perhaps
        assert send_one(mux.port()).code == 250
    assert (len(first.taken), len(second.taken)) == (2 * taken, 2 - 2 * taken)
    if not taken:
        line = mux.wait("attempt_failed")
        assert line["phase"] == "tls" and "pin" in line["reason"]
        assert not [session for session in first.sessions if "MAIL" in session.verbs()]


@pytest.mark.parametrize("kind, taken", [("self_signed", 1), ("good", 0)])
def test_pin__stands_in_for_a_certificate_that_is_not_verified(stage, certificates, kind, taken):
    first = stage.provider(tls="implicit", context=server_context(getattr(certificates, kind)),
                           users={"u": SECRET})
    second = stage.provider()
    mux = stage.mux([{"url": first.url, "tls_verify": False, "user": "u", "pass": SECRET,
                      "pin": pin_of(certificates.self_signed)}, second])
    assert send_one(mux.port()).code == 250
    assert (len(first.taken), len(second.taken)) == (taken, 1 - taken)
    assert ("AUTH" in " ".join(first.commands())) == bool(taken)


def test_pin__smtp_never_does_without_tls(stage, certificates):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([{"url": first.url, "pin": pin_of(certificates.good)}, second])
    assert send_one(mux.port()).code == 250
    assert (len(first.taken), len(second.taken)) == (0, 1)
    assert mux.wait("attempt_failed")["phase"] == "tls"


# ---- addresses ----

def test_source__is_where_connections_come_from(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "source": "127.0.0.2"}])
    assert send_one(mux.port()).code == 250
    assert [session.peer for session in provider.sessions] == ["127.0.0.2"]


def test_source__that_is_not_of_this_machine_is_a_failure_to_connect(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([{"url": first.url, "source": "192.0.2.77"}, second])
    assert send_one(mux.port()).code == 250
    assert mux.wait("attempt_failed")["phase"] == "connect"
    assert first.connections == 0


@pytest.mark.parametrize("host, family, taken", [
    ("127.0.0.1", "ipv4", 1), ("127.0.0.1", "ipv6", 0), ("::1", "ipv6", 1), ("::1", "ipv4", 0),
    ("::1", "any", 1), ("127.0.0.1", "any", 1)])
def test_family__chooses_among_the_addresses_of_a_name(stage, host, family, taken):
    first, second = stage.provider(host=host), stage.provider()
    mux = stage.mux([{"url": f"smtp://localhost:{first.port}", "family": family}, second])
    assert send_one(mux.port()).code == 250
    assert (len(first.taken), len(second.taken)) == (taken, 1 - taken)


# ---- Unix sockets and LMTP ----

class Lmtp(socketserver.StreamRequestHandler):
    """A server of LMTP (RFC 2033), or of SMTP, on a socket of either kind."""

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        site = self.server.site
        self.say("220 lmtp.test LMTP")
        rcpt = []
        for line in self.rfile:
            line = line.decode().rstrip("\r\n")
            site.commands.append(line)
            verb = line.split(" ")[0].split(":")[0].upper()
            if verb == site.hello:
                self.say("250-lmtp.test")
                self.say("250 PIPELINING")
            elif verb == "RCPT":
                rcpt.append(line)
                self.say(site.rcpt)
            elif verb == "DATA":
                self.say("354 go on")
                octets = b""
                while not octets.endswith(b"\r\n.\r\n"):
                    octets += self.rfile.readline()
                if site.dot is None:
                    return
                site.messages.append(octets)
                for _ in rcpt if site.hello == "LHLO" else rcpt[:1]:
                    self.say(site.dot)
                rcpt = []
            elif verb in ("MAIL", "RSET", "NOOP"):
                self.say("250 2.0.0 ok")
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                self.say("500 5.5.1 unknown command")


class Site:
    def __init__(self, server, hello="LHLO", rcpt="250 2.1.5 ok", dot="250 2.0.0 stored"):
        self.hello, self.rcpt, self.dot = hello, rcpt, dot
        self.commands, self.messages = [], []
        self.server = server
        server.site, server.daemon_threads = self, True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def site(tmp_path):
    made = []

    def make(kind, **options):
        if kind == "unix":
            server = socketserver.ThreadingUnixStreamServer(str(tmp_path / f"{len(made)}.sock"), Lmtp)
            place = "unix:" + server.server_address
        else:
            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lmtp)
            place = f"//127.0.0.1:{server.server_address[1]}"
        made.append(Site(server, **options))
        scheme = "smtp" if options.get("hello") == "EHLO" else "lmtp"
        made[-1].url = f"{scheme}+{place}" if kind == "unix" else f"{scheme}:{place}"
        return made[-1]
    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def test_smtp_unix__a_message_through_a_socket(stage, site):
    server = site("unix", hello="EHLO")
    mux = stage.mux([{"url": server.url}])
    assert send_one(mux.port()).code == 250
    assert len(server.messages) == 1


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_lmtp__a_message_is_taken(stage, site, kind):
    server = site(kind)
    mux = stage.mux([{"url": server.url}])
    for _ in range(2):
        assert send_one(mux.port()).code == 250
    assert len(server.messages) == 2
    assert [line.split(" ")[0] for line in server.commands][:2] == ["LHLO", "MAIL"]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("how, code, tried", [
    ({"rcpt": "550 5.1.1 no such user"}, 550, 0),
    ({"rcpt": "450 4.2.1 busy"}, 250, 1),
    ({"dot": "552 5.2.2 mailbox full"}, 552, 0),
    ({"dot": "451 4.3.0 disk is slow"}, 250, 1),
    ({"dot": None}, 451, 0),
])
def test_lmtp__a_refusal_and_a_silence_mean_what_they_mean_in_smtp(stage, site, kind, how, code, tried):
    server, second = site(kind, **how), stage.provider()
    mux = stage.mux([{"url": server.url}, second])
    reply = send_one(mux.port())
    assert reply.code == code
    assert len(second.taken) == tried
    if how.get("dot", "") is None:
        assert mux.summary()["outcome"] == "unknown"


def test_lmtp__one_recipient_at_a_time(stage, site):
    """Recipients could be served apart behind the dot, and then none of the replies would be true."""
    server = site("tcp")
    mux = stage.mux([{"url": server.url}])
    with Wire(mux.port()) as wire:
        wire.greet()
        assert wire.command("MAIL FROM:<a@example.com>").code == 250
        assert wire.command("RCPT TO:<b@example.org>").code == 250
        reply = wire.command("RCPT TO:<c@example.org>")
        assert (reply.code, reply.enhanced) == (452, "4.5.3")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("how, codes, tried", [
    ({}, [250, 452, 354, 250], 0),
    ({"rcpt": "550 5.1.1 no such user"}, [550, 550, 554], 0),
    ({"rcpt": "450 4.2.1 busy"}, [250, 452, 354, 250], 1),
    ({"dot": "552 5.2.2 mailbox full"}, [250, 452, 354, 552], 0),
    ({"dot": "451 4.3.0 disk is slow"}, [250, 452, 354, 250], 1),
    ({"dot": None}, [250, 452, 354, 451], 0),
], ids=["taken", "no", "later", "final", "slow", "unknown"])
def test_lmtp__while_the_message_arrives(stage, site, kind, how, codes, tried):
    """A second recipient has to wait for its own message, but one that was refused is forgotten."""
    server, second = site(kind, **how), stage.provider()
    mux = stage.mux([{"url": server.url}, second], users=[
        {"email": APP, "upstreams": ["p0", "p1"], "delivery": "cut-through"}])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<a@example.com>")
        told = [wire.command(f"RCPT TO:<{name}@example.org>").code for name in "bc"]
        told.append(wire.command("DATA").code)
        if told[-1] == 354:
            wire.send(b"Subject: x\r\n\r\n..one\r\n.\r\n")
            told.append(wire.reply().code)
    assert told == codes
    assert len(second.taken) == tried
    if "dot" not in how and told[-1] == 250 and tried == 0:
        assert server.messages[0].endswith(b"Subject: x\r\n\r\n..one\r\n.\r\n")
    if how.get("dot", "") is None:
        assert mux.summary()["outcome"] == "unknown"
