"""One proxy in front of one sink, started once and put under load many times."""
import contextlib
import dataclasses
import os
import pathlib
import resource
import subprocess
import tempfile
import threading
import time
from typing import Iterator

import idle
from peers import BIN, PASSWORD, ROOT, USER, Peer, Place
from processes import Program, free_port, machine_cpu

BENCH = ROOT / "build/bench"
LOAD_SECONDS = 120  # no run takes longer
MOST_MESSAGES = 200_000
AUTH = (f"user={USER}", f"pass={PASSWORD}")


@dataclasses.dataclass(frozen=True)
class Work:
    """What one run sends, and with what."""
    name: str
    title: str
    size: int
    sessions: int = 20
    kept: bool = False
    sink: str = "plain_sink"  # or smtp-sink
    source: str = "plain_load"  # or smtp-source
    tls: bool = False
    options: tuple[str, ...] = ()  # of plain_load

    @property
    def least(self) -> int:
        """Fewer messages would leave sessions without any."""
        return self.sessions


@dataclasses.dataclass
class Run:
    """What was measured. Shares are of one core."""
    rate: float  # messages a second
    cpu_ms: float  # of the proxy, per message
    source_share: float
    sink_share: float
    proxy_share: float
    machine_share: float
    others_share: float  # of what has nothing to do with the bench
    resumed: float = 0.0  # TLS handshakes of all messages
    latency_us: tuple[float, ...] = ()  # p50, p99, p99.9, max


class Setup:
    def __init__(self, peer: Peer, sink: str, folder: str, tls: bool = False):
        self.peer = peer
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        self.folder.chmod(0o755)
        self.certificate = idle.make_certificate(self.folder) if tls else None
        self.proxy: Program | None = None
        self.port = free_port()
        self.sink = Program(sink, self.sink_command(sink), self.folder / "sink.log")
        try:
            self.sink.wait_port(self.port)
            if peer.start is not None:
                self.start_proxy()
        except BaseException:
            self.stop()
            raise

    def sink_command(self, sink: str) -> list:
        if sink == "smtp-sink":
            return [BIN / "smtp-sink", f"127.0.0.1:{self.port}", "1000"]
        return [BENCH / sink, self.port]

    def start_proxy(self) -> None:
        port = free_port()
        command, env = self.peer.start(Place(self.folder, port, self.port, self.certificate))
        self.proxy = Program(self.peer.name, command, self.folder / "proxy.log", env)
        self.proxy.wait_port(port, self.certificate is not None)
        self.port = port

    def stop(self) -> None:
        for program in (self.proxy, self.sink):
            if program is not None:
                program.stop()

    def cpu(self) -> tuple[float, ...]:
        """Seconds of the proxy, the sink, all cores, all cores without interrupts."""
        return (self.proxy.cpu_seconds() if self.proxy else 0.0, self.sink.cpu_seconds(),
                *machine_cpu())

    def run(self, work: Work, messages: int) -> Run:
        by = self.by_smtp_source if work.source == "smtp-source" else self.by_plain_load
        return by(work, messages)

    def result(self, before: tuple[float, ...], took: float, messages: int, source: float) -> Run:
        proxy, sink, machine, processes = (after - then for after, then in zip(self.cpu(), before))
        others = max(processes - proxy - sink - source, 0.0)
        return Run(messages / took, proxy * 1000 / messages, source / took, sink / took, proxy / took,
                   machine / took, others / took)

    def by_smtp_source(self, work: Work, messages: int) -> Run:
        command = [BIN / "smtp-source", "-s", work.sessions, "-m", messages, "-l", work.size,
                   "-f", "bench@example.com", "-t", "rcpt@example.com", "-M", "source.example",
                   *(["-d"] if work.kept else []), f"inet:127.0.0.1:{self.port}"]
        before, source, began = self.cpu(), children_cpu(), time.monotonic()
        done = subprocess.run([str(word) for word in command], check=False, timeout=LOAD_SECONDS,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        took = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(f"smtp-source: {done.stderr.strip()[-200:]}")
        return self.result(before, took, messages, children_cpu() - source)

    def by_plain_load(self, work: Work, messages: int) -> Run:
        options = [*work.options, *(["keep", "warm"] if work.kept else [])]
        if work.tls:
            options += ["tls=implicit", f"ca={self.certificate[0]}"]
        with plain_load(self.port, work.sessions, messages, work.size, *options) as load:
            if work.kept and load.stdout.readline() != "ready\n":
                raise RuntimeError(load.stderr.read().strip())
            before = self.cpu()
            with contextlib.suppress(BrokenPipeError):
                load.stdin.write("go\n")
                load.stdin.flush()
            words = load.stdout.readline().split()
            if not words:
                raise RuntimeError(load.stderr.read().strip())
            run = self.result(before, float(words[0]), messages, float(words[2]))
            if load.wait() != 0:
                raise RuntimeError(load.stderr.read().strip())
        run.resumed = int(words[3]) / messages
        run.latency_us = tuple(float(word) for word in words[4:])
        return run

    def calibrate(self, work: Work, seconds: float) -> int:
        """Warms all up; the number of messages that take about so long."""
        messages = work.least
        while True:
            began = time.monotonic()
            rate = self.run(work, messages).rate
            enough = seconds / 4 < messages / rate or time.monotonic() - began > seconds
            if enough or messages >= MOST_MESSAGES:
                return min(max(int(rate * seconds), work.least), MOST_MESSAGES)
            messages = min(max(int(rate * seconds / 2), messages * 2), messages * 20, MOST_MESSAGES)


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def plain_load(*words) -> Iterator[subprocess.Popen]:
    """bench/plain_load, ended in any case."""
    load = subprocess.Popen([str(BENCH / "plain_load"), *map(str, words)], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    patience = threading.Timer(LOAD_SECONDS, load.kill)
    patience.start()
    try:
        yield load
    finally:
        patience.cancel()
        load.kill()
        load.wait()
        for pipe in (load.stdout, load.stderr):
            pipe.close()
        with contextlib.suppress(BrokenPipeError):
            load.stdin.close()


def cores() -> int:
    return len(os.sched_getaffinity(0))
