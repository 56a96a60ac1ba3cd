"""Runs the program for the tests of its command line; nothing of mail."""
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SMTPMUX_BIN") or os.environ.get("SMTPMUX") or ROOT / "build-asan/smtpmux"
SECONDS = 20  # for anything that should take a moment

# Parts of a small file that is right.
UPSTREAMS = "upstreams: {one: {url: 'smtp://127.0.0.1:1'}}\n"
USERS = "users: [{email: u, password: sesame, upstreams: [one]}]\n"


def listeners(port=0):
    return f"listeners: [{{listen: '127.0.0.1:{port}', allow_insecure_auth: true}}]\n"


def small(port=0, more=""):
    return more + listeners(port) + UPSTREAMS + USERS


def run(*arguments, stdin="", cwd=None, env=None):
    """The finished program: returncode, stdout, stderr."""
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], input=stdin, cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
        env={**os.environ, **(env or {})},
    )


class Daemon:
    """`smtpmux serve`, and what it has logged so far."""

    def __init__(self, path, **environment):
        self.process = subprocess.Popen(
            [str(BINARY), "serve", "-c", str(path)], stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.log = ""

    def read_until(self, pattern):
        """Waits for a line that matches, and returns the match."""
        deadline = time.monotonic() + SECONDS
        while True:
            match = re.search(pattern, self.log, re.MULTILINE)
            if match:
                return match
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in:\n{self.log}"
            if select.select([self.process.stderr], [], [], left)[0]:
                got = os.read(self.process.stderr.fileno(), 65536).decode()
                assert got, f"the daemon ended, without {pattern!r} in:\n{self.log}"
                self.log += got

    def port(self, nth=0):
        self.read_until(r"event=ready")
        return int(re.findall(r"event=listening address=\S+:(\d+)", self.log)[nth])

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The exit code; the rest of the log is read."""
        _, rest = self.process.communicate(timeout=SECONDS)
        self.log += rest.decode()
        return self.process.returncode

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()


@contextlib.contextmanager
def serving(path, **environment):
    daemon = Daemon(path, **environment)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.communicate()


class Client:
    """A line at a time over a socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.file = self.socket.makefile("rwb")

    def reply(self):
        """The lines of one reply."""
        lines = []
        while not lines or lines[-1][3:4] == "-":
            line = self.file.readline().decode()
            if not line:
                return lines
            lines.append(line.rstrip("\r\n"))
        return lines

    def say(self, line):
        self.file.write(line.encode() + b"\r\n")
        self.file.flush()
        return self.reply()

    def close(self):
        self.file.close()
        self.socket.close()


class Upstream:
    """Takes each message and says nothing to its final dot."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got_dot = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            connection = self.listener.accept()[0]
            file = connection.makefile("rwb")
            answers = {b"EHLO": b"250-x\r\n250 PIPELINING", b"DATA": b"354 go on"}
            file.write(b"220 x\r\n")
            file.flush()
            for line in file:
                verb = line[:4].upper()
                if line == b".\r\n":
                    self.got_dot.set()
                elif verb in (b"EHLO", b"MAIL", b"RCPT", b"DATA"):
                    file.write(answers.get(verb, b"250 ok") + b"\r\n")
                    file.flush()

    def close(self):
        self.listener.close()


def certificate(folder, name):
    """A self-signed certificate and its key, made by OpenSSL."""
    cert, key = Path(folder, f"{name}.crt"), Path(folder, f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", str(key), "-out", str(cert)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    return cert, key
