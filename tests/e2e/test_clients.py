"""Clients and providers that others wrote: swaks, smtplib, nodemailer, smtp-source and smtp-sink,
aiosmtpd; and each mechanism of AUTH."""
import os
import shutil
import smtplib
import socket
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest

from certificates import client_context
from harness import PEERS, PROGRAM, wait_until
from wire import Wire, message

USER, PASSWORD = "someone@example.com", "pencil and paper"


def need(path):
    if not Path(path).exists():
        pytest.skip(f"{path} is not there: scripts/peers.sh test")
    return str(path)


@pytest.fixture(scope="module")
def provider(module_stage):
    return module_stage.provider()


@pytest.fixture(scope="module")
def mux(module_stage, provider, certificates):
    """Three listeners: clear text with trust, STARTTLS with AUTH, implicit TLS with AUTH; a fourth
    takes AUTH on clear text."""
    pair = [{"cert": certificates.good.cert, "key": certificates.good.key}]
    return module_stage.mux(
        [provider], users=[{"email": USER, "password": PASSWORD, "upstreams": ["p0"]}],
        listeners=[{}, {"tls": "starttls", "certificates": pair, "auth": "required"},
                   {"tls": "implicit", "certificates": pair, "auth": "required"},
                   {"auth": "required", "allow_insecure_auth": True}])


CLEAR, STARTTLS, IMPLICIT, INSECURE = range(4)


def arrived(provider, mark):
    """The message with this mark; there is one only."""
    found = [one for one in provider.taken if mark.encode() in one.data]
    assert len(found) == 1, len(found)
    return found[0]


def protocol_of(one):
    words = one.added.decode().split()
    return words[words.index("with") + 1]


# ---- swaks ----

def swaks(mux, listener, mark, *options):
    program = shutil.which("swaks")
    if program is None:
        pytest.skip("swaks is not installed")
    return subprocess.run(
        [program, "--server", f"127.0.0.1:{mux.port(listener)}", "--ehlo", "swaks.test", "--from",
         "me@example.com", "--to", "you@example.net", "--header", f"Subject: {mark}", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)


AUTH = ("--auth-user", USER, "--auth-password", PASSWORD)


@pytest.mark.parametrize("listener, options, protocol", [
    (CLEAR, (), "ESMTP"),
    (INSECURE, ("--auth", "PLAIN", *AUTH), "ESMTPA"),
    (INSECURE, ("--auth", "LOGIN", *AUTH), "ESMTPA"),
    (STARTTLS, ("--tls", "--auth", "PLAIN", *AUTH), "ESMTPSA"),
    (STARTTLS, ("--tls", "--auth", "LOGIN", *AUTH), "ESMTPSA"),
    (IMPLICIT, ("--tlsc", "--auth", "PLAIN", *AUTH), "ESMTPSA"),
    (CLEAR, ("--protocol", "SMTP"), "SMTP"),
], ids=["clear", "plain", "login", "starttls-plain", "starttls-login", "implicit", "helo"])
def test_swaks__its_message_arrives_once(mux, provider, request, listener, options, protocol):
    mark = request.node.callspec.id.join(("swaks-", "-mark"))
    done = swaks(mux, listener, mark, *options)
    assert done.returncode == 0, done.stdout
    assert protocol_of(arrived(provider, mark)) == protocol


def test_swaks__cram_md5_is_not_offered(mux):
    done = swaks(mux, INSECURE, "cram", "--auth", "CRAM-MD5", *AUTH)
    assert done.returncode == 28, done.stdout  # swaks: no requested mechanism is offered


def test_swaks__a_wrong_password_is_refused(mux):
    done = swaks(mux, INSECURE, "wrong", "--auth", "PLAIN", "--auth-user", USER, "--auth-password", "no")
    assert done.returncode == 28 and "535" in done.stdout, done.stdout


# ---- smtplib ----

def a_message(mark):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "me@example.com", "you@example.net", mark
    mail.set_content("Grüße\n.\n..two\nend\n")
    return mail


def test_smtplib__starttls_and_login(mux, provider, certificates):
    with smtplib.SMTP("127.0.0.1", mux.port(STARTTLS), timeout=30) as client:
        client.starttls(context=client_context(certificates.ca))
        client.login(USER, PASSWORD)
        assert client.send_message(a_message("smtplib-starttls")) == {}
        assert client.send_message(a_message("smtplib-second")) == {}
    assert b"\r\n.\r\n..two\r\n" in arrived(provider, "smtplib-starttls").data
    assert arrived(provider, "smtplib-second")


def test_smtplib__implicit_tls(mux, provider, certificates):
    with smtplib.SMTP_SSL("127.0.0.1", mux.port(IMPLICIT), timeout=30,
                          context=client_context(certificates.ca)) as client:
        client.login(USER, PASSWORD)
        client.send_message(a_message("smtplib-implicit"))
    assert arrived(provider, "smtplib-implicit")


# ---- nodemailer ----

@pytest.mark.parametrize("listener, tls", [(INSECURE, "off"), (STARTTLS, "starttls"),
                                           (IMPLICIT, "implicit")])
def test_nodemailer__its_messages_arrive_once(mux, provider, certificates, listener, tls):
    need(PEERS / "node" / "node_modules" / "nodemailer")
    script = Path(__file__).with_name("nodemailer_send.mjs")
    done = subprocess.run(
        [shutil.which("node"), str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60, check=False,
        env={**os.environ, "NODEMAILER": str(PEERS / "node" / "node_modules" / "nodemailer"),
             "PORT": str(mux.port(listener)), "TLS": tls, "CA": certificates.ca, "USER_NAME": USER,
             "PASSWORD": PASSWORD, "MARK": f"nodemailer-{tls}"})
    assert done.returncode == 0, done.stdout
    for number in range(3):
        one = arrived(provider, f"nodemailer-{tls}-{number}.")
        assert protocol_of(one) == ("ESMTPA" if tls == "off" else "ESMTPSA")
        assert one.rcpt == ["TO:<to@example.net>", "TO:<cc@example.net>"]


# ---- AUTH by hand ----

def test_auth__what_is_offered_where(mux, certificates):
    with Wire(mux.port(CLEAR)) as wire:
        assert "AUTH" not in wire.greet().offers
    with Wire(mux.port(INSECURE)) as wire:
        assert wire.greet().offers["AUTH"] == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    with Wire(mux.port(STARTTLS)) as wire:
        assert "AUTH" not in wire.greet().offers and "STARTTLS" in wire.offers
        wire.secure(client_context(certificates.ca)).ehlo()
        assert "AUTH" in wire.offers and "STARTTLS" not in wire.offers


def test_auth__on_clear_text_without_leave_is_refused(mux):
    with Wire(mux.port(STARTTLS)) as wire:
        assert wire.greet().auth_plain(USER, PASSWORD).code == 538
        assert wire.envelope().code == 530


def test_auth__scram_sha_256(mux, provider):
    with Wire(mux.port(INSECURE)) as wire:
        assert wire.greet().auth_scram(USER, PASSWORD).code == 235
        assert wire.submit(message(mark="scram")).code == 250
        assert wire.command("AUTH PLAIN AAAA").code == 503
    assert arrived(provider, "scram@")


def test_auth__scram_with_a_wrong_password(mux):
    with Wire(mux.port(INSECURE)) as wire:
        assert wire.greet().auth_scram(USER, "pencil and pape").code == 535
        assert wire.envelope().code == 530


def openssl_crypt(password):
    return subprocess.run(["openssl", "passwd", "-6", password], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def test_auth__each_kind_of_stored_password(stage):
    """crypt(3) hashes by PLAIN; SCRAM's keys by both."""
    def passwd(*options):
        done = subprocess.run([PROGRAM, "passwd", "--stdin", *options], input=PASSWORD + "\n",
                              stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    kinds = {"yescrypt": passwd(), "scram": passwd("--scram"), "sha512": openssl_crypt(PASSWORD)}
    provider = stage.provider()
    mux = stage.mux([provider], listeners=[{"auth": "required", "allow_insecure_auth": True}],
                    users=[{"email": f"{kind}@example.com", "password": kinds[kind], "upstreams": ["p0"]}
                           for kind in kinds])
    for kind in kinds:
        for password, code in ((PASSWORD, 235), (PASSWORD[:-1], 535)):
            with Wire(mux.port()) as wire:
                assert "SCRAM-SHA-256" not in wire.greet().offers["AUTH"]  # not all users can
                assert wire.auth_plain(f"{kind}@example.com", password).code == code, kind
    with Wire(mux.port()) as wire:
        assert wire.greet().auth_plain("nobody@example.com", PASSWORD).code == 535


# ---- smtp-source and smtp-sink ----

def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def smtp_source(mux, count, *options):
    return subprocess.run(
        [need(PEERS / "bin" / "smtp-source"), "-m", str(count), "-f", "me@example.com", "-t",
         "you@example.net", *options, f"127.0.0.1:{mux.port(CLEAR)}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, check=False)


@pytest.mark.parametrize("options", [("-s", "10", "-l", "4096"), ("-d", "-s", "10", "-l", "4096")],
                         ids=["a-connection-each", "connections-kept"])
def test_smtp_source__two_hundred_messages_each_once(stage, options):
    provider = stage.provider()
    mux = stage.mux([provider])
    done = smtp_source(mux, 200, *options)
    assert done.returncode == 0 and not done.stdout, done.stdout
    assert len(provider.taken) == 200
    assert all(one.data.count(b"Received:") == 1 for one in provider.taken)
    assert len({one.added for one in provider.taken}) == 200
    assert provider.connections <= 20


def test_smtp_source__to_smtp_sink(stage, tmp_path):
    port = free_port()
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    sink = subprocess.Popen([need(PEERS / "bin" / "smtp-sink"), "-d", f"{dumps}/%M.", f"127.0.0.1:{port}",
                             "200"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listens, 20, "smtp-sink")
        mux = stage.mux({"sink": {"url": f"smtp://127.0.0.1:{port}"}})
        done = smtp_source(mux, 200, "-s", "8", "-l", "2000")
        assert done.returncode == 0, done.stdout
        delivered = mux.wait("message", 200, outcome="delivered", upstream="sink")
        assert len(delivered) == 200
    finally:
        sink.terminate()
        sink.wait(20)
    texts = [path.read_bytes() for path in dumps.iterdir()]
    assert sum(text.count(b"X-Mail-Args: <me@example.com>") for text in texts) == 200


def test_smtp_source__more_sessions_than_connections_keep_those_that_there_are(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "max_connections": 16, "max_messages_per_connection": 10000}])
    done = smtp_source(mux, 4000, "-d", "-s", "200", "-l", "100")
    assert done.returncode == 0 and not done.stdout, done.stdout
    assert len(provider.taken) == 4000
    assert provider.most_open <= 16
    assert provider.connections <= 2 * 16


# ---- aiosmtpd ----

class Collector:
    def __init__(self):
        self.envelopes = []

    async def handle_DATA(self, _server, _session, envelope):  # pylint: disable=invalid-name
        self.envelopes.append(envelope)
        return "250 taken"


def test_aiosmtpd__as_a_provider(stage):
    controllers = pytest.importorskip("aiosmtpd.controller")
    collector = Collector()
    controller = controllers.Controller(collector, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        mux = stage.mux({"aiosmtpd": {"url": f"smtp://127.0.0.1:{controller.port}"}})
        body = b".\r\n..\r\n.leading\r\nx" * 500 + b"\r\n"
        with Wire(mux.port()) as wire:
            wire.greet()
            for number in range(20):
                reply = wire.submit(message(body, mark=f"aio-{number}"),
                                    recipients=("a@example.net", "b@example.net"))
                assert reply.code == 250, reply
            assert wire.submit(message(body, mark="chunked"), chunk=1000,
                               recipients=("a@example.net", "b@example.net")).code == 250
    finally:
        controller.stop()
    assert len(collector.envelopes) == 21
    for envelope in collector.envelopes:
        assert envelope.rcpt_tos == ["a@example.net", "b@example.net"]
        assert envelope.content.endswith(b"\r\n\r\n" + body)
