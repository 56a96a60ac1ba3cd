#!/usr/bin/python3
"""A provider 20 ms away that wants TLS and AUTH: is an application that opens a connection for each
message faster with smtpmux between than without?

    bench/far.py [--quick] [--program build/smtpmux] [--one-way 20]

The provider runs in a network namespace whose link delays every packet, those of the TCP handshake
too (bench/far_link.c; needs root, or `unshare --user --map-root-user --net bench/far.py`). Two
applications: Python's smtplib, which waits for each reply and for QUIT's, and bench/load, which
pipelines, up to the reply to the message. Both resume no TLS session, as applications do not. To
smtpmux they speak on loopback, with the same AUTH. The time of a message is all of it: connection,
TLS, AUTH, message.
"""
import argparse
import contextlib
import os
import pathlib
import signal
import smtplib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import idle

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAST = ROOT / "build/bench"
AIM = 0.6  # of the direct time per message (BASELINE)
ONE_WAY_MS, SIZE, AT_ONCE, BURST = 20, 4096, 20, 10
PROVIDER_PORT, PROVIDER_IDLE_MS = 2525, 1500
USER, PASSWORD = "app", "for-the-bench"
MESSAGE = ("From: <app@example.com>\r\nTo: <rcpt@example.com>\r\nSubject: far\r\n\r\n"
           + ("x" * 76 + "\r\n") * (SIZE // 78))


class Far:
    """The provider and its certificate."""

    def __init__(self, folder, one_way_ms, idle_ms=0):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        # The address is known once the link is up, and the certificate needs it.
        script = 'while [ ! -e "$1/go" ]; do sleep 0.02; done; shift; exec "$@"'
        self.process = subprocess.Popen(
            [FAST / "far_link", str(one_way_ms), "sh", "-c", script, "sh", self.folder,
             FAST / "fast_sink", f"0.0.0.0:{PROVIDER_PORT}", self.folder / "tls.crt",
             self.folder / "tls.key", str(idle_ms)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.host = self.process.stdout.readline().strip()
        if not self.host:
            raise RuntimeError(self.process.communicate()[1].strip())
        self.ca, _ = idle.make_certificate(self.folder, self.host)
        (self.folder / "go").touch()
        self.process.stdout.readline()  # its port: it listens
        self.port = PROVIDER_PORT

    def stop(self):
        stop(self.process)


class Mux:
    """smtpmux on this side, with the provider as its only upstream."""

    def __init__(self, program, far, folder, more=""):
        self.port = free_port()
        config = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "smtpmux.yaml"
        config.write_text(f"""hostname: mux.example.com
listeners:
  - {{listen: "127.0.0.1:{self.port}", auth: required, allow_insecure_auth: true}}
upstreams:
  far: {{url: "smtp+tls://{far.host}:{far.port}", ca: {far.ca}, user: {USER}, pass: {PASSWORD}, max_connections: 64{more}}}
users:
  - {{email: {USER}, password: {PASSWORD}, upstreams: [far]}}
log: {{level: warn}}
""")
        self.log = open(config.with_suffix(".log"), "ab")
        self.process = subprocess.Popen([program, "serve", "-c", config], stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        self.host, self.ca = "127.0.0.1", None
        wait_port(self.port, self.process)

    def stop(self):
        stop(self.process)
        self.log.close()


def stop(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as s:
            if s.recv(3) == b"220":
                return
        time.sleep(0.02)
    raise RuntimeError(f"smtpmux does not greet on port {port}")


# ---- applications: the milliseconds that each message took ----

def smtplib_message(to):
    began = time.monotonic()
    with smtplib.SMTP(to.host, to.port, timeout=60) as server:
        if to.ca:
            server.starttls(context=ssl.create_default_context(cafile=to.ca))
        server.login(USER, PASSWORD)
        server.sendmail("app@example.com", ["rcpt@example.com"], MESSAGE)
    return (time.monotonic() - began) * 1000


def by_smtplib(to, at_once, count):
    took, failed, lock = [], [], threading.Lock()

    def application():
        for _ in range(count // at_once):
            try:
                ms = smtplib_message(to)
            except (OSError, smtplib.SMTPException) as error:
                failed.append(error)
                return
            with lock:
                took.append(ms)

    threads = [threading.Thread(target=application) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"smtplib: {failed[0]}")
    took.sort()
    return statistics.median(took), took[len(took) * 99 // 100]


def by_load(to, at_once, count):
    secure = ["tls=starttls", f"ca={to.ca}"] if to.ca else []
    done = subprocess.run([str(word) for word in (
        FAST / "load", to.host, to.port, at_once, count, SIZE, f"user={USER}", f"pass={PASSWORD}",
        "auth=PLAIN",  # what SCRAM costs this one process at 20 a time is not the way's length
        *secure)], check=False, timeout=300, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    words = done.stdout.split()
    if done.returncode or words[2] != "0":
        raise RuntimeError(f"load: {done.stderr.strip()}")
    return float(words[3]) / 1000, float(words[4]) / 1000


# ---- what is measured ----

def line(what, direct, mux):
    """(median, p99) of each."""
    ratio = mux[0] / direct[0]
    verdict = "" if ratio <= AIM else f"  above {AIM}"
    print(f"{what:44}{direct[0]:9.1f}{direct[1]:9.1f}{mux[0]:9.1f}{mux[1]:9.1f}{ratio:8.2f}{verdict}")
    return {"direct": direct, "smtpmux": mux, "ratio": ratio}


def steady(far, mux, quick):
    results = {}
    for name, application in (("smtplib", by_smtplib), ("load", by_load)):
        for at_once, count in ((1, 10 if quick else 40), (AT_ONCE, 60 if quick else 200)):
            application(mux, at_once, at_once)  # warm-up
            what = f"{name}, {'one' if at_once == 1 else at_once} at a time"
            results[what] = line(what, application(far, at_once, count),
                                 application(mux, at_once, count))
    return results


def spaced(to, count, pause):
    took = []
    for _ in range(count):
        time.sleep(pause)
        took.append(smtplib_message(to))
    took.sort()
    return statistics.median(took), took[len(took) * 99 // 100]


def after_start(program, far, folder, count):
    took = []
    for _ in range(count):
        mux = Mux(program, far, folder)
        try:
            took.append(smtplib_message(mux))
        finally:
            mux.stop()
    took.sort()
    return statistics.median(took), took[-1]


def behind_a_quiet_time(program, folder, one_way_ms, count):
    """The provider closes what is idle."""
    far = Far(folder, one_way_ms, PROVIDER_IDLE_MS)
    try:
        mux = Mux(program, far, folder)
        try:
            smtplib_message(mux)
            return spaced(mux, count, PROVIDER_IDLE_MS / 1000 + 0.5)
        finally:
            mux.stop()
    finally:
        far.stop()


def special(program, far, folder, one_way_ms, quick):
    """What is no steady state, against an application that has the provider to itself."""
    few, direct, results = (3 if quick else 8), spaced(far, 8, 0), {}

    def tell(what, mux):
        results[what] = line(what, direct, mux)

    tell("first message behind a start", after_start(program, far, folder, few))
    tell("the provider closed what was idle", behind_a_quiet_time(program, folder, one_way_ms, few))
    mux = Mux(program, far, folder, ", max_messages_per_connection: 1")
    try:
        spaced(mux, 3, 0.1)
        tell("one message per upstream connection, 2 a s", spaced(mux, few * 2, 0.5))
    finally:
        mux.stop()
    mux = Mux(program, far, folder)
    try:
        smtplib_message(mux)
        direct = by_smtplib(far, BURST, BURST)
        tell(f"a burst of {BURST} behind a single message", by_smtplib(mux, BURST, BURST))
    finally:
        mux.stop()
    return results


def run_far(folder, quick=False, program=ROOT / "build/smtpmux", one_way_ms=ONE_WAY_MS):
    """Prints the table and returns its figures; {} if this machine can make no link."""
    print(f"\nfar: a provider {one_way_ms} ms away (TLS, AUTH), a connection per message, "
          f"{SIZE} octets; milliseconds per message\n"
          f"{'':44}{'direct':>9}{'p99':>9}{'smtpmux':>9}{'p99':>9}{'ratio':>8}")
    try:
        far = Far(folder, one_way_ms)
    except RuntimeError as error:
        print(f"did not run: {error}", file=sys.stderr)
        return {}
    try:
        mux = Mux(program, far, folder)
        try:
            results = steady(far, mux, quick)
        finally:
            mux.stop()
        return results | special(program, far, folder, one_way_ms, quick)
    finally:
        far.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few messages only")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/smtpmux")
    parser.add_argument("--one-way", type=int, default=ONE_WAY_MS, help="milliseconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smtpmux-far-") as folder:
        results = run_far(folder, options.quick, options.program, options.one_way)
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
