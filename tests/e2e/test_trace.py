"""smtpmux trace: following the sessions of a running daemon's proxies."""
import json
import signal
import socket

import pytest

from harness import wait_until
from harness_cli import run
from proxying import Program, make_proxy
from wire import Wire, message

EX_OK, EX_USAGE, EX_UNAVAILABLE, EX_TEMPFAIL = 0, 64, 69, 75
FOLLOWERS_MAX = 16


class Traced:
    """A daemon with two proxies, and those who follow it."""

    def __init__(self, stage, folder):
        self.provider = stage.provider()
        config = make_proxy(self.provider)
        config["listeners"].append({**config["listeners"][0], "listen": "127.0.0.2:0"})
        self.socket = f"{folder}/admin.sock"
        config["admin"] = {"listen": f"unix:{self.socket}"}
        self.mux = stage.serve(config)
        self.programs = []

    def follow(self, *arguments):
        """A follower whom the daemon knows by now."""
        count = len(self.mux.find("trace_begun"))
        self.programs.append(Program("trace", "-c", self.mux.path, *arguments))
        self.mux.wait("trace_begun", count=count + 1)
        return self.programs[-1]

    def send(self, nth=0, host="127.0.0.1", **options):
        with Wire(self.mux.port(nth), host=host) as wire:
            assert wire.greet("traced.client").submit(message(), **options).code == 250
            assert wire.command("QUIT").code == 221

    def end(self):
        for program in self.programs:
            program.__exit__()


@pytest.fixture
def traced(stage, tmp_path):
    made = Traced(stage, tmp_path)
    yield made
    made.end()


# ---- what is shown ----

def test_trace__a_session_is_shown_as_it_passes(traced):
    follower = traced.follow()
    traced.send()
    follower.wait_out("=== closed")
    lines = [line.split(" ", 1) for line in follower.out]
    assert len({number for number, _ in lines}) == 1
    texts = [text for _, text in lines]
    assert any(text.endswith("-> EHLO traced.client") for text in texts)
    order = [texts.index(text) for text in (" -> MAIL FROM:<from@example.com>", " -> DATA", " -> QUIT",
                                            "=== closed")]
    assert order == sorted(order)
    assert not [text for text in texts if "Subject: a test" in text]


def test_trace__by_sender_from_the_sessions_beginning(traced):
    follower = traced.follow("--from", "*@watched.example")
    traced.send()
    traced.send(sender="a@watched.example")
    follower.wait_out("=== closed")
    text = "\n".join(follower.out)
    assert "EHLO traced.client" in text and "<a@watched.example>" in text
    assert "from@example.com" not in text


def test_trace__the_empty_sender_is_a_pattern(traced):
    follower = traced.follow("--from", "<>")
    traced.send()
    traced.send(sender="")
    follower.wait_out("=== closed")
    assert any(line.endswith(" -> MAIL FROM:<>") for line in follower.out)
    assert "from@example.com" not in "\n".join(follower.out)


@pytest.mark.parametrize("arguments, shown", [
    (["--listener", "127.0.0.2:*"], 1), (["--listener", "127.0.0.1:0"], 1), (["--listener", "*"], 2),
    (["--client", "127.0.0.0/8"], 2), (["--client", "192.0.2.1"], 0),
])
def test_trace__by_listener_and_client(traced, arguments, shown):
    follower, all_of_it = traced.follow("--json", *arguments), traced.follow("--json")
    traced.send()
    traced.send(1, "127.0.0.2")

    def closed(program):
        return [line for line in map(json.loads, list(program.out)) if line["text"] == "closed"]
    wait_until(lambda: len(closed(all_of_it)) == 2, 20, "two sessions")
    wait_until(lambda: len(closed(follower)) >= shown, 20, f"{shown} sessions")
    assert len(closed(follower)) == shown


def test_trace__json_has_all_that_is_known_of_a_line(traced):
    follower = traced.follow("--json")
    traced.send()
    follower.wait_out('"closed"')
    line = next(line for line in map(json.loads, follower.out) if line["text"].startswith("MAIL"))
    assert line["text"] == "MAIL FROM:<from@example.com>"
    assert (line["way"], line["tls"], line["own"]) == ("->", False, False)
    assert (line["client"], line["listener"]) == ("127.0.0.1", "127.0.0.1:0")
    assert set(line) == {"time", "session", "client", "listener", "way", "tls", "own", "text"}


def test_trace__begins_within_a_session(traced):
    with Wire(traced.mux.port()) as wire:
        wire.greet()
        follower = traced.follow()
        assert wire.command("NOOP").code == 250
        follower.wait_out("-> NOOP")
        assert not [line for line in follower.out if "EHLO" in line]


# ---- slow and many ----

def test_trace__a_slow_follower_loses_lines_and_holds_up_nobody(traced):
    count = 4000
    with socket.socket(socket.AF_UNIX) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(traced.socket)
        slow.sendall(b"GET /api/trace HTTP/1.1\r\nHost: localhost\r\n\r\n")
        traced.mux.wait("trace_begun")
        with Wire(traced.mux.port()) as wire:
            wire.greet()
            for _ in range(count // 20):
                wire.send((b"NOOP " + b"x" * 60 + b"\r\n") * 20)
                for _ in range(20):
                    assert wire.reply().code == 250
        slow.settimeout(20)
        octets = b""
        while b'{"lost":' not in octets:
            got = slow.recv(65536)
            assert got
            octets += got
        assert octets.count(b'"text":"NOOP') < count


def test_trace__at_most_so_many_follow(traced):
    followers = [socket.socket(socket.AF_UNIX) for _ in range(FOLLOWERS_MAX)]
    for follower in followers:
        follower.connect(traced.socket)
        follower.sendall(b"GET /api/trace HTTP/1.1\r\nHost: localhost\r\n\r\n")
    traced.mux.wait("trace_begun", count=FOLLOWERS_MAX)
    done = run("trace", "-c", traced.mux.path)
    assert done.returncode == EX_TEMPFAIL
    assert "16 follow already" in done.stderr
    followers.pop().close()
    traced.mux.wait("trace_ended", seconds=30)
    last = traced.follow()
    traced.send()
    last.wait_out("=== closed")
    for follower in followers:
        follower.close()


# ---- the end ----

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_trace__a_signal_ends_it(traced, number):
    follower = traced.follow()
    traced.send()
    follower.wait_out("=== closed")
    assert follower.end(number) == EX_OK
    assert not follower.err
    traced.mux.wait("trace_ended", seconds=30)


def test_trace__the_daemons_end_is_told(traced):
    follower = traced.follow()
    traced.mux.signal(signal.SIGTERM)
    assert follower.process.wait(20) == EX_UNAVAILABLE
    wait_until(lambda: "the daemon has ended" in "\n".join(follower.err), 5, "a word")
    assert traced.mux.wait_end() == 0


@pytest.mark.parametrize("arguments, code, told", [
    (["--client", "nonsense"], EX_USAGE, "expected an address or a network"),
    (["more"], EX_USAGE, "what is `more`?"),
])
def test_trace__mistakes_are_told(traced, arguments, code, told):
    done = run("trace", "-c", traced.mux.path, *arguments)
    assert done.returncode == code and told in done.stderr


def test_trace__an_unknown_word_is_refused(traced):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(traced.socket)
        asking.sendall(b"GET /api/trace?sender=x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        asking.settimeout(20)
        octets = b""
        while got := asking.recv(65536):
            octets += got
    assert b" 400 " in octets.split(b"\r\n")[0] and b"expected client, from or listener" in octets


def test_trace__help_says_that_only_proxies_are_followed():
    done = run("trace", "--help")
    assert done.returncode == EX_OK
    assert "Sessions of listeners with `mode: proxy` are followed" in done.stdout
