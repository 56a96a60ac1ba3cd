"""What a message costs: the instructions that the release build needs in user space, counted by
callgrind on sessions that are always the same.

Clocks tell nothing on a busy machine; a count of instructions hardly moves. `cost.json` has the
figures that were taken last; one that differs by more than 3% fails, in either direction, so that
a change is either undone or written down knowingly:

    SMX_WRITE_COST=1 /usr/bin/python3 -m pytest tests/e2e/test_cost.py

The daemon runs one worker, and the client waits for each reply, so the loop sees the same turns in
every run. GLIBC_TUNABLES keeps the C library to the functions that every x86-64 has."""
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness import APP, REPO, make_config, wait_until
from wire import Wire

RELEASE = Path(os.environ.get("SMTPMUX_RELEASE", REPO / "build" / "smtpmux"))
RECORDED = Path(__file__).with_name("cost.json")
TOLERANCE = 0.03
WARM_UP, MESSAGES = 20, 100
BODY = b"".join(b"%02d: Lines as long as those that people write, in a mail of four kilobytes.\r\n" % i
                for i in range(50))
MESSAGE = b"From: <app@example.com>\r\nTo: <you@example.net>\r\nSubject: cost\r\n\r\n" + BODY + b".\r\n"

pytestmark = [
    pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed"),
    pytest.mark.skipif(not RELEASE.exists(), reason=f"{RELEASE} is not built"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the figures are of x86-64"),
]


class Counted:
    """A daemon under callgrind, and the provider behind it."""

    def __init__(self, folder, config_of):
        self.folder, self.processes = Path(folder), []
        sink = self.start("sink.log", RELEASE, "sink", "--listen", "127.0.0.1:0", "--quiet",
                          "--no-chunking")
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(config_of(f"smtp+notls://127.0.0.1:{self.port('sink.log', sink)}")))
        self.daemon = self.start(
            "daemon.log", "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/cost",
            RELEASE, "serve", "-c", path)
        self.address = self.port("daemon.log", self.daemon)

    def start(self, log, *command):
        environment = {**os.environ, "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull,
                       "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM"}
        with open(self.folder / log, "wb") as out:
            self.processes.append(subprocess.Popen(
                [str(word) for word in command], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, env=environment))
        return self.processes[-1]

    def port(self, log, process):
        def listening():
            text = (self.folder / log).read_text()
            assert process.poll() is None, text
            found = re.search(r"listening.*?127\.0\.0\.1:(\d+)", text)
            return found and int(found.group(1))
        return wait_until(listening, 60, "the line of the listener")

    def control(self, *options):
        subprocess.run(["callgrind_control", *options, str(self.daemon.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def count(self, send):
        """Instructions for each message behind a warm-up."""
        send(WARM_UP)
        self.control("--zero")
        send(MESSAGES)
        self.control("--dump")
        dump = self.folder / "cost.1"
        wait_until(lambda: dump.exists() and "totals:" in dump.read_text(), 60, "callgrind's figures")
        return int(re.search(r"^totals: (\d+)", dump.read_text(), re.M).group(1)) / MESSAGES

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(60)


@pytest.fixture
def counted(tmp_path):
    made = []

    def start(config_of):
        made.append(Counted(tmp_path, config_of))
        return made[0]

    yield start
    for one in made:
        one.end()


def message(wire):
    for command in (b"MAIL FROM:<app@example.com>", b"RCPT TO:<you@example.net>", b"DATA"):
        wire.sock.sendall(command + b"\r\n")
        wire.reply()
    wire.sock.sendall(MESSAGE)
    assert wire.reply().code == 250


def leave(wire):
    wire.sock.sendall(b"QUIT\r\n")
    wire.reply()
    assert wire.sock.recv(1) == b""
    wire.close()


def sender(port, kept):
    """Sends a number of messages: on one connection, or on one each."""
    def greeted():
        wire = Wire(port)
        wire.reply()
        wire.sock.sendall(b"EHLO client.example\r\n")
        wire.reply()
        return wire

    def send(count):
        wire = greeted() if kept else None
        for _ in range(count):
            one = wire or greeted()
            message(one)
            if not kept:
                leave(one)
        if kept:
            leave(wire)
    return send


def multiplexer(url):
    return {**make_config({"sink": {"url": url}}, users=[{"email": APP, "upstreams": ["sink"]}]),
            "workers": 1, "admin": {"listen": "off"}}


def proxy(url):
    return {"hostname": "mux.test", "workers": 1, "admin": {"listen": "off"},
            "listeners": [{"listen": "127.0.0.1:0", "mode": "proxy", "upstream": url}]}


@pytest.mark.parametrize("name, config_of, kept", [
    ("multiplexer, connection kept", multiplexer, True),
    ("multiplexer, connection for each", multiplexer, False),
    ("proxy, connection kept", proxy, True),
    ("proxy, connection for each", proxy, False),
])
def test_instructions_of_a_message(counted, name, config_of, kept):
    daemon = counted(config_of)
    instructions = daemon.count(sender(daemon.address, kept))
    recorded = json.loads(RECORDED.read_text())
    print(f"{name}: {instructions:.0f} instructions")
    if os.environ.get("SMX_WRITE_COST"):
        RECORDED.write_text(json.dumps({**recorded, name: round(instructions)}, indent=1) + "\n")
        return
    assert abs(instructions / recorded[name] - 1) <= TOLERANCE, (
        f"{name}: {instructions:.0f} instructions for a message, {recorded[name]} are recorded; "
        "undo what costs more, or record the new figure (see the head of this file)")
