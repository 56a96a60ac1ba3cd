"""Clients and servers that others wrote, once face to face and once with the transparent proxy between
them: nodemailer and smtp-server, smtplib and aiosmtpd, swaks. What each said, heard and made of it is the
same."""
import contextlib
import os
import re
import shutil
import smtplib
import subprocess
from pathlib import Path

import pytest

from certificates import client_context, server_context
from dialogue_serve import ScriptedServer
from harness import PEERS
from octet_sink import proxy_config, proxy_listener
from test_clients import free_port, need

MESSAGE = "Subject: hello\r\n\r\n.dot\r\n..two\r\nend\r\n"

# ---- nodemailer and smtp-server ----

RANDOM = [(re.compile(pattern), to) for pattern, to in (
    (r"_NmP-[0-9a-f]+", "BOUNDARY"),
    (r"AUTH CRAM-MD5\\?n?|(client|server) (334 )?[A-Za-z0-9+/=]{40,}(\\n)?$", r"\1 RANDOM"),
)]


def dialogues(port, proxy, lmtp):
    """By case: what the client said, what the server said, and what either made of it."""
    modules = PEERS / "node" / "node_modules"
    need(modules / "smtp-server")
    done = subprocess.run(
        [need(shutil.which("node") or "node"), str(Path(__file__).with_name("nodemailer_dialogues.mjs"))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        env={**os.environ, "NODE_MODULES": str(modules), "PORT": str(port), "PROXY": str(proxy or ""),
             "LMTP": "yes" if lmtp else ""})
    assert done.returncode == 0, done.stdout
    cases, case = {}, None
    for line in done.stdout.splitlines():
        for pattern, to in RANDOM:
            line = pattern.sub(to, line)
        kind, _, rest = line.partition(" ")
        if kind == "==":
            case = cases[rest] = {}
        else:
            case.setdefault(kind if kind in ("client", "server") else "events", []).append(rest or kind)
    return cases


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_nodemailer__its_dialogues_with_smtp_server_are_the_same(stage, lmtp):
    port = free_port()
    proxy = stage.serve(proxy_config(proxy_listener(f"{'lmtp' if lmtp else 'smtp+notls'}://127.0.0.1:{port}")))
    direct, through = dialogues(port, None, lmtp), dialogues(port, proxy.port(), lmtp)
    assert len(direct) > 12 and all(case.get("server") for case in direct.values())
    for name, case in direct.items():
        assert through[name] == case, name


# ---- smtplib and aiosmtpd ----

class Keeper:
    """Keeps what came; refuses some."""

    def __init__(self):
        self.kept = []

    async def handle_RCPT(self, _server, _session, envelope, address, options):  # pylint: disable=invalid-name
        if address.startswith("later"):
            return "451 4.7.1 not now"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 welcome"

    async def handle_DATA(self, _server, session, envelope):  # pylint: disable=invalid-name
        self.kept.append((session.host_name, envelope.mail_from, envelope.mail_options, envelope.rcpt_tos,
                          envelope.rcpt_options, envelope.content, envelope.smtp_utf8, session.auth_data))
        return "554 5.7.1 no" if b"refuse me" in envelope.content else "250 2.0.0 taken"


def authenticate(_server, _session, _envelope, _mechanism, data):
    smtp = pytest.importorskip("aiosmtpd.smtp")
    good = (data.login, data.password) == (b"user", b"secret")
    return smtp.AuthResult(success=good, auth_data=data.login if good else None, handled=False)


@contextlib.contextmanager
def aiosmtpd_server(certificates, tls):
    controllers = pytest.importorskip("aiosmtpd.controller")
    context = server_context(certificates.good)
    keeper = Keeper()
    controller = controllers.Controller(
        keeper, hostname="127.0.0.1", port=free_port(), server_hostname="aio.test", ident="aiosmtpd",
        enable_SMTPUTF8=True, authenticator=authenticate, auth_require_tls=False, data_size_limit=100_000,
        tls_context=context if tls == "starttls" else None,
        ssl_context=context if tls == "implicit" else None)
    controller.start()
    try:
        yield controller.port, keeper
    finally:
        controller.stop()


class Told(smtplib.SMTP):
    """Writes down what it says and hears."""

    def __init__(self, *arguments, **options):
        self.told = []
        super().__init__(*arguments, **options)

    def send(self, s):
        self.told.append(("send", s.encode() if isinstance(s, str) else s))
        super().send(s)

    def getreply(self):
        answer = super().getreply()
        self.told.append(("hear", answer))
        return answer


class ToldInTls(Told, smtplib.SMTP_SSL):
    """The same in TLS from the first octet on."""


def attempt(client, name, *arguments, **options):
    """A method's result, or what it raised."""
    try:
        return name, getattr(client, name)(*arguments, **options)
    except smtplib.SMTPException as problem:
        return name, type(problem).__name__, problem.args


def all_methods(client):
    """Every method of smtplib that says something."""
    many = ["a@example.net", "b@example.net", "later@example.net"]
    utf8 = {"mail_options": ["SMTPUTF8", "BODY=8BITMIME"]}
    steps = [
        ("noop",), ("help",), ("helo", "client.test"), ("ehlo", "client.test"), ("vrfy", "someone"),
        ("expn", "staff"), ("has_extn", "size"), ("docmd", "XYZZY", "1 2"), ("mail", "early@example.com"),
        ("rset",), ("rcpt", "nobody@example.net"),
        ("sendmail", "me@example.com", "to@example.net", MESSAGE),
        ("sendmail", "me@example.com", many, MESSAGE),
        ("sendmail", "me@example.com", ["later@example.net"], MESSAGE),
        ("sendmail", "me@example.com", "to@example.net", MESSAGE + "refuse me\r\n"),
        ("sendmail", "<>", "to@example.net", b"Subject: x\r\n\r\n\xc3\xa4\xff\r\n", ["BODY=8BITMIME"]),
        ("sendmail", "me@example.com", "to@example.net", "Subject: big\r\n\r\n" + "x" * 70 + "\r\n" * 60_000),
        ("login", "user", "wrong"), ("login", "user", "secret"), ("login", "user", "secret"),
        ("sendmail", "me@example.com", "to@example.net", MESSAGE), ("quit",)]
    results = [attempt(client, *step) for step in steps[:-1]]
    results.append(attempt(client, "sendmail", "ich@example.com", "grüße@example.net", MESSAGE.encode(), **utf8))
    return [*results, attempt(client, *steps[-1])]


def each_mechanism(client):
    """AUTH by each mechanism that smtplib has, with and without an initial response."""
    client.user, client.password = "user", "secret"
    results = [attempt(client, "ehlo", "client.test")]
    for name, method in (("CRAM-MD5", "auth_cram_md5"), ("LOGIN", "auth_login"), ("PLAIN", "auth_plain")):
        for initial in (False, True):
            client.password = "wrong"
            results.append(attempt(client, "auth", name, getattr(client, method), initial_response_ok=initial))
    results.append(attempt(client, "docmd", "AUTH", "LOGIN"))
    results.append(attempt(client, "docmd", "*"))
    client.password = "secret"
    results.append(attempt(client, "auth", "LOGIN", client.auth_login, initial_response_ok=False))
    return [*results, attempt(client, "quit")]


def smtplib_session(port, tls, certificates, script):
    context = client_context(certificates.ca)
    if tls == "implicit":
        client = ToldInTls("localhost", port, local_hostname="client.test", timeout=60, context=context)
    else:
        client = Told("localhost", port, local_hostname="client.test", timeout=60)
    results = [attempt(client, "starttls", context=context)] if tls == "starttls" else []
    if tls == "starttls":
        results.append(attempt(client, "starttls", context=context))  # not twice
    results += script(client)
    client.close()
    return results, client.told


@pytest.mark.parametrize("script", [all_methods, each_mechanism])
@pytest.mark.parametrize("tls, scheme, listener", [
    ("off", "smtp+notls", {}),
    ("off", "smtp", {}),
    ("starttls", "smtp", {"tls": "passthrough"}),
    ("implicit", "smtps", {"tls": "passthrough"}),
    ("implicit", "smtps", {"tls": "implicit"}),
], ids=["clear", "starttls-if-offered", "starttls-passed", "tls-passed", "tls-on-both-sides"])
def test_smtplib__all_it_does_with_aiosmtpd_is_the_same(stage, certificates, script, tls, scheme, listener):
    if listener.get("tls") == "implicit":
        listener = {**listener, "certificates": [{"cert": certificates.good.cert, "key": certificates.good.key}]}
    with aiosmtpd_server(certificates, tls) as (port, keeper):
        upstream = {"url": f"{scheme}://127.0.0.1:{port}"}
        if listener.get("tls") == "implicit":
            upstream["ca"] = certificates.ca
        proxy = stage.serve(proxy_config(proxy_listener(upstream, **listener)))
        direct = smtplib_session(port, tls, certificates, script)
        kept, keeper.kept[:] = list(keeper.kept), []
        through = smtplib_session(proxy.port(), tls, certificates, script)
        for one, other in zip(direct[1], through[1]):
            assert without_chance(other) == without_chance(one)
        assert str(through[0]) == str(direct[0])
        assert keeper.kept == kept and (script is each_mechanism or len(kept) >= 6)


def without_chance(line):
    """CRAM-MD5's challenge and answer are never the same twice."""
    return re.sub(rb"(AUTH CRAM-MD5|334)( |\\r\\n)?[A-Za-z0-9+/=]*|[A-Za-z0-9+/=]{30,}", b"RANDOM",
                  repr(line).encode())


# ---- swaks ----

PORTS, BOUNDARY = re.compile(rb"127\.0\.0\.1:\d+|port \d+"), re.compile(rb"MIME_BOUNDARY_\d+_\d+")


def same_looks(octets):
    return BOUNDARY.sub(b"BOUNDARY", PORTS.sub(b"*", octets))


def swaks(port, *options):
    program = shutil.which("swaks")
    if program is None:
        pytest.skip("swaks is not installed")
    done = subprocess.run(
        [program, "--server", f"127.0.0.1:{port}", "--ehlo", "swaks.test", "--from", "me@example.com", "--to",
         "you@example.net", "--timeout", "30", "--header", "Date: today", "--header", "Subject: hello", "--header",
         "Message-Id: <a@example.com>", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.returncode, same_looks(done.stdout).decode("latin-1")


AUTH = ("--auth-user", "user", "--auth-password", "secret")
SWAKS = {
    "plain": (),
    "pipeline": ("--pipeline", "--to", "a@example.net,b@example.net,c@example.net"),
    "prdr": ("--prdr", "--to", "a@example.net,b@example.net"),
    "pipeline-prdr": ("--pipeline", "--prdr", "--to", "a@example.net,b@example.net"),
    "helo": ("--protocol", "SMTP"),
    "utf8": ("--from", "ich@münchen.example", "--to", "grüße@example.net"),
    "auth-plain": ("--auth", "PLAIN", *AUTH),
    "auth-login": ("--auth", "LOGIN", *AUTH),
    "auth-cram-md5": ("--auth", "CRAM-MD5", *AUTH),
    "auth-optional": ("--auth-optional", "DIGEST-MD5", *AUTH),
    "quit-after-mail": ("--quit-after", "MAIL"),
    "drop-after-rcpt": ("--drop-after", "RCPT"),
    "drop-after-send-data": ("--drop-after-send", "DATA"),
    "data": ("--data", "Subject: x\\n\\n.\\n..\\nend\\n"),
    "body": ("--body", "x" * 5000, "--header", "X-A: b"),
    "attach": ("--attach", "hello"),
}


@pytest.fixture(scope="module")
def scripted():
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def scripted_proxy(module_stage, scripted):
    return module_stage.serve(proxy_config(
        proxy_listener(scripted.port),
        proxy_listener(scripted.port, xclient=["127.0.0.1"]),
        proxy_listener(scripted.port, proxy_protocol=["127.0.0.1"])))


@pytest.mark.parametrize("name", SWAKS)
def test_swaks__each_feature_is_the_same(scripted, scripted_proxy, name):
    direct = swaks(scripted.port, *SWAKS[name])
    heard = same_looks(scripted.last())
    through = swaks(scripted_proxy.port(), *SWAKS[name])
    assert through == direct
    assert same_looks(scripted.last()) == heard


def test_swaks__xclient_passes_for_those_who_may(scripted, scripted_proxy):
    options = ("--xclient-addr", "192.0.2.7", "--xclient-name", "far.test")
    scripted.xclient = True
    try:
        direct = swaks(scripted.port, *options)
        heard = same_looks(scripted.last())
        through = swaks(scripted_proxy.port(1), *options)
        assert b"XCLIENT" in heard and same_looks(scripted.last()) == heard
    finally:
        scripted.xclient = False
    assert through == direct


@pytest.mark.parametrize("version", ["1", "2"])
def test_swaks__a_proxy_header_is_for_the_proxy_and_the_rest_is_the_same(scripted, scripted_proxy, version):
    direct = swaks(scripted.port)
    heard = same_looks(scripted.last())
    code, text = swaks(scripted_proxy.port(2), "--proxy-version", version, "--proxy-family",
                       "TCP4" if version == "1" else "AF_INET", "--proxy-source", "192.0.2.7",
                       "--proxy-source-port", "4711", "--proxy-dest", "192.0.2.8", "--proxy-dest-port", "25",
                       *(() if version == "1" else ("--proxy-command", "PROXY", "--proxy-protocol", "STREAM")))
    assert code == direct[0], text
    assert same_looks(scripted.last()) == heard
