"""`smtpmux sink`: what it says of what it got, and that its faults are the ones asked for."""
import contextlib
import hashlib
import json
import os
import re
import select
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

import harness_cli as cli

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SMTPMUX") or str(ROOT / "build-asan/smtpmux")
SECONDS = 20
USAGE, NOINPUT, UNAVAILABLE, CONFIG = 64, 66, 69, 78

SENDER, READER = "a@example.com", "b@example.net"
MESSAGE = b"Subject: one\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"


class Sink:
    """The running program: its port, and the lines of JSON so far."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [BINARY, "sink", "--listen", "127.0.0.1:0", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.out = b""
        self.told = self.process.stderr.readline().decode()
        found = re.match(r"smtpmux sink: listening on 127\.0\.0\.1:(\d+)", self.told)
        assert found, self.told
        self.port = int(found[1])

    def line(self):
        """The next line of JSON."""
        deadline = time.monotonic() + SECONDS
        while b"\n" not in self.out:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], "no line came"
            got = os.read(self.process.stdout.fileno(), 65536)
            assert got, "the sink ended"
            self.out += got
        line, self.out = self.out.split(b"\n", 1)
        return json.loads(line)

    def stop(self, number=signal.SIGTERM):
        """The exit code and what was not read of standard output."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        assert err == b"", err.decode()
        return self.process.returncode, self.out + out


@contextlib.contextmanager
def sink(*arguments):
    one = Sink(*arguments)
    try:
        yield one
        if one.process.poll() is None:
            assert one.stop()[0] == 0
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def client(one, **options):
    return smtplib.SMTP("127.0.0.1", one.port, timeout=SECONDS, local_hostname="app.test",
                        **options)


def send(one, message=MESSAGE, to=(READER,)):
    with client(one) as smtp:
        return smtp.sendmail(SENDER, list(to), message)


def run(*arguments):
    return subprocess.run([BINARY, "sink", *map(str, arguments)], capture_output=True, text=True,
                          timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sink")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True)
    return cert, key


# ---- what it says ----

def test_sink__a_line_of_json_tells_all_of_a_message():
    with sink() as one:
        send(one, to=[READER, "c@example.net"])
        line = one.line()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "session": 1, "client": "127.0.0.1", "helo": "app.test", "tls": False, "user": "",
        "from": SENDER, "to": [READER, "c@example.net"], "size": len(MESSAGE),
        "sha256": hashlib.sha256(MESSAGE).hexdigest(), "code": 250, "message_id": "<1@x>",
        "subject": "one",
    }


def test_sink__each_message_has_its_line_and_sessions_are_numbered():
    with sink() as one:
        with client(one) as smtp:
            smtp.sendmail(SENDER, READER, MESSAGE)
            smtp.sendmail(SENDER, READER, MESSAGE)
        send(one)
        assert [one.line()["session"] for _ in range(3)] == [1, 1, 2]
        assert one.stop() == (0, b"")


def test_sink__octets_that_are_no_utf8_do_not_spoil_the_line():
    with sink() as one:
        send(one, b"Subject: gr\xfc\xdfe\r\n\r\n\xff\r\n")
        assert one.line()["subject"] == "gr??e"


def test_sink__quiet_says_nothing():
    with sink("--quiet") as one:
        send(one)
        assert one.stop() == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sink__a_signal_ends_it_and_its_sessions(number):
    with sink() as one:
        smtp = client(one)
        smtp.ehlo()
        assert one.stop(number)[0] == 0
        smtp.close()


def test_sink__a_unix_socket_is_listened_on_too(tmp_path):
    path = tmp_path / "sink.sock"
    process = subprocess.Popen([BINARY, "sink", "--listen", f"unix:{path}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stderr.readline().decode().startswith(
        f"smtpmux sink: listening on unix:{path}")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(SECONDS)
        s.connect(str(path))
        assert s.recv(4096).startswith(b"220 ")
    process.terminate()
    assert process.communicate(timeout=SECONDS) == (b"", b"")
    assert process.returncode == 0


def test_sink__the_maildir_has_the_very_octets(tmp_path):
    messages = {b".dot\r\n..\r\n\r\nbody\r\n", b"Subject: x\r\n\r\n" + b"\xe4" * 700000 + b"\r\n",
                b"\r\n"}
    with sink("--maildir", tmp_path / "got") as one:
        for message in messages:
            send(one, message)
            assert one.line()["sha256"] == hashlib.sha256(message).hexdigest()
    assert {path.read_bytes() for path in (tmp_path / "got/new").iterdir()} == messages
    assert not list((tmp_path / "got/tmp").iterdir())
    assert (tmp_path / "got/cur").is_dir()


# ---- what it offers ----

def features(one):
    with client(one) as smtp:
        smtp.ehlo()
        return {name.upper() for name in smtp.esmtp_features}


def test_sink__extensions_can_be_left_out():
    with sink() as one:
        assert {"PIPELINING", "CHUNKING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"} <= features(one)
        assert "STARTTLS" not in features(one)
    with sink("--no-pipelining") as one:
        assert "PIPELINING" not in features(one) and "CHUNKING" in features(one)
    with sink("--no-chunking") as one:
        assert "CHUNKING" not in features(one) and "PIPELINING" in features(one)


def test_sink__max_size_is_told_and_kept():
    with sink("--max-size", "2KiB") as one:
        with client(one) as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["size"] == "2048"
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                smtp.sendmail(SENDER, READER, b"x" * 3000)
            assert refused.value.smtp_code == 552
        send(one)
        assert one.line()["size"] == len(MESSAGE)


def test_sink__auth_takes_anyone_unless_a_user_is_named():
    with sink() as one:
        with client(one) as smtp:
            assert smtp.login("whoever", "whatever")[0] == 235
            smtp.sendmail(SENDER, READER, MESSAGE)
        assert one.line()["user"] == "whoever"


def test_sink__a_named_user_must_sign_in():
    with sink("--user", "u", "--password", "p") as one:
        with client(one) as smtp, pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail(SENDER, READER, MESSAGE)
        assert refused.value.smtp_code == 530
        for user, password in (("u", "q"), ("v", "p"), ("u", "")):
            with client(one) as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login(user, password)
        with client(one) as smtp:
            smtp.login("u", "p")
            smtp.sendmail(SENDER, READER, MESSAGE)
        assert one.line()["user"] == "u"


@pytest.mark.parametrize("user, password, is_right", [("u", "p", True), ("v", "p", False),
                                                      ("u", "q", False)])
def test_sink__scram_takes_the_named_user_only(tmp_path, user, password, is_right):
    with sink("--user", "u", "--password", "p") as one:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"{cli.listeners()}upstreams: {{one: {{url: 'smtp://127.0.0.1:{one.port}', "
            f"auth: scram-sha-256, user: {user}, pass: {password}}}}}\n"
            "users: [{email: app, password: sesame, upstreams: [one]}]\n")
        with cli.serving(path) as daemon, smtplib.SMTP(
                "127.0.0.1", daemon.port(), timeout=SECONDS) as smtp:
            smtp.login("app", "sesame")
            if is_right:
                smtp.sendmail(SENDER, READER, MESSAGE)
                assert one.line()["user"] == "u"
            else:
                with pytest.raises(smtplib.SMTPDataError):
                    smtp.sendmail(SENDER, READER, MESSAGE)
                daemon.read_until(r"event=upstream_suspended.* 535 ")


def test_sink__starttls_and_tls_from_the_first_octet_on(pair):
    context = ssl.create_default_context(cafile=pair[0])
    with sink("--cert", pair[0], "--key", pair[1]) as one:
        with client(one) as smtp:
            smtp.starttls(context=context)
            smtp.sendmail(SENDER, READER, MESSAGE)
        assert one.line()["tls"] is True
    with sink("--cert", pair[0], "--key", pair[1], "--tls-implicit") as one:
        with smtplib.SMTP_SSL("127.0.0.1", one.port, timeout=SECONDS, context=context) as smtp:
            smtp.ehlo()
            assert not smtp.has_extn("starttls")
            smtp.sendmail(SENDER, READER, MESSAGE)
        assert one.line()["tls"] is True


def test_sink__clear_text_at_a_tls_port_is_hung_up_on(pair):
    with sink("--cert", pair[0], "--key", pair[1], "--tls-implicit") as one:
        with socket.create_connection(("127.0.0.1", one.port), timeout=SECONDS) as s:
            s.sendall(b"EHLO x\r\n")
            with contextlib.suppress(ConnectionResetError):
                while s.recv(4096):
                    pass


# ---- its faults ----

SCRIPT = {  # what is said to come to a phase, each line with the code that it gets
    "connect": [],
    "ehlo": [],
    "auth": [("EHLO x", 250)],
    "mail": [("EHLO x", 250)],
    "rcpt": [("EHLO x", 250), ("MAIL FROM:<a@b.test>", 250)],
    "data": [("EHLO x", 250), ("MAIL FROM:<a@b.test>", 250), ("RCPT TO:<c@d.test>", 250)],
    "dot": [("EHLO x", 250), ("MAIL FROM:<a@b.test>", 250), ("RCPT TO:<c@d.test>", 250),
            ("DATA", 354)],
}
SCRIPT["body"] = SCRIPT["after-dot"] = SCRIPT["dot"]
LAST = {"connect": None, "ehlo": "EHLO x", "auth": "AUTH PLAIN AHUAcA==",
        "mail": "MAIL FROM:<a@b.test>", "rcpt": "RCPT TO:<c@d.test>", "data": "DATA",
        "body": "hello\r\n.", "dot": "hello\r\n.", "after-dot": "hello\r\n."}


class Talk:
    """Lines over a socket."""

    def __init__(self, one):
        self.socket = socket.create_connection(("127.0.0.1", one.port), timeout=SECONDS)
        self.file = self.socket.makefile("rb")

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")

    def reply(self):
        """The last line of a reply; b"" at the end of the connection."""
        while True:
            line = self.file.readline()
            if line[3:4] != b"-":
                return line.rstrip()

    def to(self, phase):
        """Says all until the fault is due."""
        if phase != "connect":
            assert self.reply().startswith(b"220")
        for line, code in SCRIPT[phase]:
            self.say(line)
            assert self.reply().startswith(str(code).encode())
        if LAST[phase]:
            self.say(LAST[phase])
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


@pytest.mark.parametrize("phase", [phase for phase in LAST if phase != "body"])
def test_sink__a_code_is_the_answer(phase):
    code = 421 if phase == "connect" else 451
    with sink("--fail", f"{phase}:{code}") as one, Talk(one) as talk:
        assert talk.to(phase).reply().startswith(str(code).encode())


@pytest.mark.parametrize("phase", LAST)
@pytest.mark.parametrize("action", ["close", "reset"])
def test_sink__the_connection_ends_without_a_word(phase, action):
    with sink("--fail", f"{phase}:{action}") as one:
        try:
            with Talk(one) as talk:
                assert talk.to(phase).reply() == b""
            was_reset = False
        except (ConnectionResetError, BrokenPipeError):
            was_reset = True
        assert was_reset == (action == "reset")


def test_sink__replies_before_the_fault_in_one_flight_arrive():
    with sink("--fail", "data:close") as one, Talk(one) as talk:
        assert talk.reply().startswith(b"220")
        talk.say("EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA")
        assert [talk.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b""]


def test_sink__a_stall_says_nothing_and_does_not_hold_up_others():
    with sink("--fail", "rcpt:stall:0.5", "--seed", "3") as one:
        answered = 0
        talks = [Talk(one).to("rcpt") for _ in range(8)]
        for talk in talks:
            talk.socket.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                answered += talk.reply().startswith(b"250")
            talk.__exit__()
        assert 0 < answered < 8


def test_sink__garbage_is_no_reply():
    with sink("--fail", "mail:garbage") as one, Talk(one) as talk:
        assert not re.match(rb"\d{3} ", talk.to("mail").reply())


def test_sink__a_message_refused_at_its_dot_was_not_taken_one_lost_after_it_was(tmp_path):
    with sink("--fail", "dot:452", "--maildir", tmp_path / "a") as one:
        with pytest.raises(smtplib.SMTPDataError):
            send(one)
        assert one.stop() == (0, b"")
    assert not list((tmp_path / "a/new").iterdir())
    for fault, code in (("drop-after-dot", 0), ("after-dot:452", 452)):
        with sink("--fail", fault, "--maildir", tmp_path / fault) as one:
            with pytest.raises((smtplib.SMTPDataError, smtplib.SMTPServerDisconnected)):
                send(one)
            assert one.line()["code"] == code
        assert len(list((tmp_path / fault / "new").iterdir())) == 1


def refused(seed):
    """Which of 40 recipients are."""
    with sink("--fail", "rcpt:451:0.5", "--seed", seed) as one, client(one) as smtp:
        smtp.ehlo()
        smtp.mail(SENDER)
        return [smtp.rcpt(f"{i}@example.net")[0] == 451 for i in range(40)]


def test_sink__chance_has_a_seed():
    first = refused(1)
    assert 8 < sum(first) < 32
    assert refused(1) == first
    assert refused(2) != first


def test_sink__latency_is_before_each_answer():
    with sink("--latency", "100ms") as one:
        before = time.monotonic()
        send(one)
        assert time.monotonic() - before > 0.6  # banner, EHLO, MAIL, RCPT, DATA, dot


def test_sink__latency_keeps_a_flight_of_commands_in_order():
    with sink("--latency", "60ms") as one, Talk(one) as talk:
        assert talk.reply().startswith(b"220")
        talk.say("EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA")
        assert [talk.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        talk.say("x\r\n.\r\nQUIT")
        assert [talk.reply()[:3] for _ in range(3)] == [b"250", b"221", b""]
        assert one.line()["size"] == 3


def test_sink__a_limit_answers_450_when_it_is_used_up():
    with sink("--limit", "2/h") as one:
        send(one)
        send(one)
        with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
            send(one)
        assert refusal.value.smtp_code == 450


# ---- what it cannot do ----

@pytest.mark.parametrize("arguments, told", [
    (["--fail", "rcpt"], "PHASE:WHAT"),
    (["--fail", "body:451"], "body"),
    (["--limit", "many"], "100/h"),
    (["--latency", "soon"], "50ms"),
    (["--max-size", "big"], "10MiB"),
    (["--seed", "x"], "number"),
    (["--user", "u"], "--password"),
    (["--cert", "c.pem"], "--key"),
    (["--tls-implicit"], "--cert"),
    (["127.0.0.1:0"], "--listen"),
    (["--listen", "nonsense"], "port"),
])
def test_sink__a_wrong_option_says_what_is_right(arguments, told):
    done = run(*arguments)
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert told in done.stderr


def test_sink__a_port_in_use_and_files_that_are_not_there_are_said():
    with sink() as one:
        done = run("--listen", f"127.0.0.1:{one.port}")
        assert done.returncode == UNAVAILABLE
        assert re.match(r"smtpmux sink: .*another program", done.stderr)
    done = run("--listen", "192.0.2.1:0")
    assert done.returncode == UNAVAILABLE
    assert "192.0.2.1" in done.stderr
    done = run("--listen", "127.0.0.1:0", "--cert", "/nowhere/c.pem", "--key", "/nowhere/k.pem")
    assert done.returncode in (NOINPUT, CONFIG)
    assert "/nowhere/c.pem" in done.stderr
    done = run("--listen", "127.0.0.1:0", "--maildir", "/nowhere/got")
    assert done.returncode == UNAVAILABLE
    assert "/nowhere/got" in done.stderr


def test_sink__help_explains_the_faults_with_examples():
    done = run("--help")
    assert done.returncode == 0
    for word in ("after-dot", "stall", "--fail rcpt:451:0.3", "examples:"):
        assert word in done.stdout
