"""smtpmux proxy: a transparent proxy without a configuration file."""
import os
import signal
import socket
import subprocess

import pytest

from certificates import client_context, server_context
from harness import PROGRAM
from harness_cli import run
from proxying import Program, records
from wire import Wire, message

EX_OK, EX_USAGE, EX_UNAVAILABLE, EX_NOPERM = 0, 64, 69, 77


def proxy(provider, *more):
    url = provider if isinstance(provider, str) else provider.url
    return Program("proxy", "--listen", "127.0.0.1:0", "--upstream", url, "--workers", "1", *more)


# ---- it serves ----

def test_proxy_cli__a_message_passes_and_a_signal_ends_it(stage):
    provider = stage.provider()
    with proxy(provider) as running:
        with Wire(running.port()) as wire:
            wire.greet("my.client")
            assert wire.submit(message()).code == 250
            assert wire.command("QUIT").code == 221
        assert running.end(signal.SIGTERM) == EX_OK
        assert running.events("stopped")
    assert provider.messages[0].data == message()
    assert "EHLO my.client" in provider.sessions[0].commands


def test_proxy_cli__sigint_lets_a_message_end(stage):
    provider = stage.provider()
    with proxy(provider) as running, Wire(running.port()) as wire:
        wire.greet()
        assert wire.envelope() is None
        assert wire.command("DATA").code == 354
        running.process.send_signal(signal.SIGINT)
        wire.send(message() + b".\r\n")
        assert wire.reply().code == 250
        assert running.process.wait(20) == EX_OK
    assert len(provider.messages) == 1


def test_proxy_cli__tls_towards_clients_and_upstream(stage, certificates):
    good = certificates.good
    provider = stage.provider(tls="starttls", context=server_context(certificates.good), name="localhost")
    with proxy(provider, "--cert", good.cert, "--key", good.key, "--ca", certificates.ca,
               "--tls", "required") as running:
        with Wire(running.port()) as wire:
            wire.greet()
            assert wire.command("MAIL FROM:<a@example.com>").code == 530
            wire.secure(client_context(certificates.ca)).ehlo()
            assert wire.submit(message()).code == 250
    assert provider.sessions[-1].tls


@pytest.mark.parametrize("skips", [False, True])
def test_proxy_cli__a_wrong_certificate_is_taken_only_if_that_is_said(stage, certificates, skips):
    provider = stage.provider(tls="implicit", context=server_context(certificates.self_signed),
                              name="localhost")
    more = ["--insecure-skip-verify"] if skips else ["--ca", certificates.ca]
    with proxy(provider, *more) as running, Wire(running.port()) as wire:
        assert wire.reply().code == (220 if skips else 421)


def test_proxy_cli__extensions_pass_by_their_names(stage):
    provider = stage.provider(extensions=("PIPELINING", "XFOO 1", "XBAR"))
    with proxy(provider, "--extension", "XFOO") as running, Wire(running.port()) as wire:
        wire.greet()
        assert wire.offers.get("XFOO") == ["1"]
        assert "XBAR" not in wire.offers


# ---- what it tells ----

def test_proxy_cli__trace_prints_the_dialogue_without_secrets(stage):
    provider = stage.provider(users={"me": "sesame-open"})
    with proxy(provider, "--trace", "--allow-insecure-auth") as running:
        with Wire(running.port()) as wire:
            wire.greet("tracing.client")
            assert wire.auth_plain("me", "sesame-open").code == 235
            assert wire.submit(message()).code == 250
            wire.command("QUIT")
        running.wait_out(r"=== closed")
        lines = [line.split(" ", 1)[1] for line in running.out]
    assert "<-  220 " in "\n".join(lines)
    assert any(line.endswith("-> EHLO tracing.client") for line in lines)
    assert " -> AUTH PLAIN ***" in lines
    assert " -> MAIL FROM:<from@example.com>" in lines
    assert any(line.startswith(" -> (") and line.endswith(" octets)") for line in lines)
    assert lines.index(" -> DATA") < lines.index(" -> QUIT")
    assert "c2VzYW1l" not in "\n".join(running.out + running.err)
    assert message().split(b"\r\n")[-2].decode() not in "\n".join(lines)


def test_proxy_cli__trace_shows_no_control_characters(stage):
    provider = stage.provider(faults={"mail": "550 5.7.1 \x1b[2Jno\x9b"})
    with proxy(provider, "--trace") as running, Wire(running.port()) as wire:
        wire.greet()
        assert wire.command("MAIL FROM:<a@example.com>").code == 550
        line = running.wait_out(r"5\.7\.1")
        assert "\x1b" not in line and "\\x1b[2Jno" in line


def test_proxy_cli__audit_goes_to_a_file_or_to_standard_output(stage, tmp_path):
    provider = stage.provider()
    path = tmp_path / "audit.jsonl"
    for target in (path, "-"):
        with proxy(provider, "--audit", target) as running:
            with Wire(running.port()) as wire:
                wire.greet()
                assert wire.submit(message()).code == 250
            if target == "-":
                assert '"outcome":"relayed"' in running.wait_out(r"^\{")
            else:
                assert records(path, 1)[0]["outcome"] == "relayed"
            assert running.end(signal.SIGTERM) == EX_OK


def test_proxy_cli__sighup_opens_the_audit_file_anew(stage, tmp_path):
    provider = stage.provider()
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with proxy(provider, "--audit", path) as running:
        with Wire(running.port()) as wire:
            wire.greet()
            assert wire.submit(message()).code == 250
            assert len(records(path, 1)) == 1
            path.rename(old)
            running.process.send_signal(signal.SIGHUP)
            records(path, 0)
            assert wire.submit(message(), sender="second@example.com").code == 250
        assert records(path, 1)[0]["from"] == "second@example.com"
    assert len(records(old, 1)) == 1


# ---- what is wrong ----

@pytest.mark.parametrize("arguments, code, told", [
    ([], EX_USAGE, "--upstream is needed"),
    (["--upstream", "mail.example.net"], EX_USAGE, "expected a URL that begins with smtp://"),
    (["--upstream", "smtp://h", "--cert", "x"], EX_USAGE, "--cert and --key go together"),
    (["--upstream", "smtp://h", "--cert", "/nonexistent", "--key", "/nonexistent"], EX_USAGE,
     "the file `/nonexistent` cannot be read: No such file or directory"),
    (["--upstream", "smtp://h", "--tls", "starttls"], EX_USAGE, "--tls starttls needs --cert and --key"),
    (["--upstream", "smtp://h", "--tls", "some"], EX_USAGE, "expected off, starttls, required"),
    (["--upstream", "smtp+tls://h", "--tls", "passthrough"], EX_USAGE, "TLS is the client's to begin"),
    (["--upstream", "smtp://h", "--client-address", "x"], EX_USAGE, "expected own, proxy-header"),
    (["--upstream", "smtp://me:secret@h"], EX_USAGE, "a proxy has no credentials of its own"),
    (["--upstream", "smtp://h", "--extension", "A B"], EX_USAGE, "expected a keyword of EHLO"),
    (["--upstream", "smtp://h", "--listen", "here"], EX_USAGE, "the port is missing"),
    (["--upstream", "smtp://h", "--workers", "0"], EX_USAGE, "`workers` must be from 1 to 256"),
    (["--upstream", "smtp://h", "--audit", "/nonexistent/a"], EX_USAGE, "cannot be written to"),
    (["--upstream", "smtp://h", "more"], EX_USAGE, "what is `more`?"),
])
def test_proxy_cli__mistakes_are_told_in_words(arguments, code, told):
    done = run("proxy", *arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.startswith("smtpmux proxy: ")


def test_proxy_cli__a_port_in_use_is_told(stage):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("proxy", "--listen", f"127.0.0.1:{port}", "--upstream", "smtp://127.0.0.1:1")
    assert done.returncode == EX_UNAVAILABLE
    assert f"port {port}: another program listens there" in done.stderr
    assert "listeners[0]" not in done.stderr


def test_proxy_cli__help_tells_every_option():
    done = run("proxy", "--help")
    assert done.returncode == EX_OK
    for option in ("--listen", "--upstream", "--cert", "--key", "--tls", "--ca", "--insecure-skip-verify",
                   "--allow-insecure-auth", "--client-address", "--extension", "--audit", "--trace",
                   "--workers"):
        assert option in done.stdout


def test_proxy_cli__a_transcript_tells_of_tls_on_both_sides(stage, certificates):
    good = certificates.good
    provider = stage.provider(tls="implicit", context=server_context(good), name="localhost")
    with proxy(provider, "--cert", good.cert, "--key", good.key, "--ca", certificates.ca,
               "--tls", "implicit", "--trace") as running:
        with Wire(running.port()) as wire:
            wire.secure(client_context(certificates.ca), starttls=False).greet()
            assert wire.command("QUIT").code == 221
        running.wait_out("=== closed")
        notes = [line.split(" === ")[1] for line in running.out if " === " in line]
    client, connected, upstream, closed = notes
    assert client.startswith("TLS with the client: TLSv1.3 TLS_")
    assert connected == f"connected to 127.0.0.1, port {provider.port}"
    assert upstream.startswith("TLS with the upstream: TLSv1.3 TLS_")
    assert closed == "closed"


def test_proxy_cli__a_transcript_tells_why_a_client_has_no_tls(stage, certificates):
    with proxy(stage.provider(), "--cert", certificates.good.cert, "--key", certificates.good.key,
               "--trace") as running:
        with Wire(running.port()) as wire:
            assert wire.greet().command("STARTTLS").code == 220
            wire.send(b"this is no handshake")
            running.wait_out("=== the TLS handshake of the client failed: ")


def test_proxy_cli__a_transcript_tells_where_auth_has_gone(stage, certificates):
    good = certificates.good
    provider = stage.provider(users={"me": "sesame"})
    with proxy(provider, "--cert", good.cert, "--key", good.key, "--trace") as running:
        with Wire(running.port()) as wire:
            assert "AUTH" not in wire.greet().offers
            running.wait_out("=== AUTH was taken out: the client is not in TLS")
            assert "AUTH" in wire.secure(client_context(certificates.ca)).ehlo().offers
            assert wire.command("QUIT").code == 221
        running.wait_out("=== closed")
        assert len([line for line in running.out if "AUTH was taken out" in line]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up a capability")
def test_proxy_cli__transparent_takes_a_capability():
    without = ("setpriv", "--bounding-set", "-net_admin,-net_raw", "--inh-caps", "-net_admin,-net_raw")
    done = subprocess.run([*without, PROGRAM, "proxy", "--listen", "127.0.0.1:0", "--upstream", "smtp://h",
                           "--transparent"], stderr=subprocess.PIPE, timeout=20, check=False)
    assert done.returncode == EX_NOPERM
    assert b"a transparent listener needs the capability CAP_NET_ADMIN" in done.stderr
