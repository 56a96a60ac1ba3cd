#!/usr/bin/python3
"""Many sessions at once through a proxy: are all of them taken, does each still work at the end, and
what does an idle one cost?

    bench/idle.py [--sessions 9900] [--program build/smtpmux] [--only plain,tls]

Needs 2.02 descriptors per session in the proxy (`ulimit -n 20000` for 9,900). Memory is what the
proxy's own (PSS) grew by after its first sessions, divided by their number, once it stopped to
shrink. The sessions are idle: greeted, their buffers given back, the upstream's connection open.
"""
import argparse
import os
import pathlib
import re
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HELLO = b"EHLO idle.example\r\n"
OFFERS = b"250-up.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 26214400\r\n"
WARM, AT_ONCE, PATIENCE = 20, 200, 60
DESCRIPTORS = 20000
SETTLE_SECONDS, SETTLED_SECONDS = 10, 2.0


def serve(listening, lifeline):
    """The upstream: answers every line; ends with its parent."""
    chooser = selectors.DefaultSelector()
    chooser.register(listening, selectors.EVENT_READ)
    chooser.register(lifeline, selectors.EVENT_READ)
    while True:
        for key, _ in chooser.select():
            if key.fileobj is lifeline:
                return
            if key.fileobj is listening:
                sock, _ = listening.accept()
                sock.sendall(b"220 up.example ESMTP\r\n")
                chooser.register(sock, selectors.EVENT_READ)
                continue
            try:
                line = key.fileobj.recv(4096)
                if line:
                    key.fileobj.sendall(OFFERS if line == HELLO else b"250 2.0.0 ok\r\n")
                    continue
            except ConnectionError:
                pass
            chooser.unregister(key.fileobj)
            key.fileobj.close()


class Upstream:
    """It needs as many descriptors as the clients: a process of its own."""

    def __init__(self):
        listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = listening.getsockname()[1]
        ours, theirs = socket.socketpair()
        self.lifeline = ours
        self.process = os.fork()
        if self.process == 0:
            ours.close()
            try:
                serve(listening, theirs)
            finally:
                os._exit(0)
        theirs.close()
        listening.close()

    def close(self):
        self.lifeline.close()
        os.waitpid(self.process, 0)


class Sessions:
    """Clients that greeted."""

    def __init__(self, port, context=None):
        self.port, self.context = port, context
        self.socks = []

    def open(self, count):
        while count > 0:
            batch = [self.connect() for _ in range(min(count, AT_ONCE))]
            count -= len(batch)
            for sock in batch:
                expect(sock, b"220")
                sock.sendall(HELLO)
            for sock in batch:
                expect(sock, b"250")
            self.socks += batch

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return sock if self.context is None else self.context.wrap_socket(sock)

    def prove(self):
        """Each one still works; the number of those that do not."""
        failed = 0
        for start in range(0, len(self.socks), AT_ONCE):
            batch = self.socks[start:start + AT_ONCE]
            for sock in batch:
                sock.sendall(b"NOOP\r\n")
            for sock in batch:
                try:
                    expect(sock, b"250")
                except (OSError, AssertionError):
                    failed += 1
        return failed

    def close(self):
        for sock in self.socks:
            sock.close()


def expect(sock, code):
    """Reads one reply."""
    reply = b""
    while not re.search(rb"(?m)^\d\d\d [^\r\n]*\r\n\Z", reply):
        octets = sock.recv(4096)
        assert octets, f"closed after {reply!r}"
        reply += octets
    assert reply.startswith(code), reply


def memory(pid):
    """Resident octets, of those shared with other processes its part: a process per session would
    otherwise count its program once for each."""
    try:
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended
    return int(re.search(r"(?m)^Pss: +(\d+) kB", rollup).group(1)) * 1024


def settled_memory(pids):
    """The least that was seen until nothing less came for a while."""
    least, end = None, time.monotonic() + SETTLE_SECONDS
    since = time.monotonic()
    while time.monotonic() < min(end, since + SETTLED_SECONDS):
        now = sum(memory(pid) for pid in pids())
        if least is None or now < least:
            least, since = now, time.monotonic()
        time.sleep(0.05)
    return least


def measure(port, pids, count, context=None):
    """(octets for each session, those that no longer worked) of `count` sessions to this port, which
    is of the processes that `pids()` names."""
    sessions = Sessions(port, context)
    try:
        sessions.open(WARM)
        before = settled_memory(pids)
        sessions.open(count - WARM)
        after = settled_memory(pids)
        return (after - before) / (count - WARM), sessions.prove()
    finally:
        sessions.close()


def raise_limit():
    """20,000 descriptors, for this process and those that it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


# ---- smtpmux alone ----

def make_certificate(folder, address="127.0.0.1"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=localhost", "-addext",
                    f"subjectAltName=IP:{address},DNS:localhost", "-days", "2", "-keyout", folder / "tls.key",
                    "-out", folder / "tls.crt"], check=True, stderr=subprocess.DEVNULL)
    return folder / "tls.crt", folder / "tls.key"


def any_certificate():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def start_proxy(program, upstream_port, folder, tls=False):
    """(process, port)"""
    extra = []
    if tls:
        cert, key = make_certificate(folder)
        extra = ["--tls", "implicit", "--cert", cert, "--key", key]
    process = subprocess.Popen(
        [str(word) for word in (program, "proxy", "--listen", "127.0.0.1:0", "--upstream",
                                f"smtp://127.0.0.1:{upstream_port}", *extra)],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        found = re.search(r"address=127\.0\.0\.1:(\d+)", line)
        if found:
            return process, int(found.group(1))
    raise RuntimeError(f"the proxy ended with {process.wait()}")


def run_smtpmux(program, count, tls):
    upstream = Upstream()
    with tempfile.TemporaryDirectory(prefix="smtpmux-idle-") as folder:
        process, port = start_proxy(program, upstream.port, pathlib.Path(folder), tls)
        try:
            return measure(port, lambda: [process.pid], count, any_certificate() if tls else None)
        finally:
            process.terminate()
            process.stderr.read()
            process.wait()
            upstream.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=9900)
    parser.add_argument("--program", default=ROOT / "build/smtpmux")
    parser.add_argument("--only", default="plain,tls")
    options = parser.parse_args()
    raise_limit()
    failures = 0
    for kind in options.only.split(","):
        octets, failed = run_smtpmux(options.program, options.sessions, kind == "tls")
        failures += failed
        print(f"{kind}: {options.sessions} sessions, {octets / 1000:.2f} KB each, {failed} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
