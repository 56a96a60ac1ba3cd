"""The bench's child processes: started with a log, ended whatever happens, and what CPU they used."""
import os
import pathlib
import signal
import socket
import subprocess
import time

import idle

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS, STOP_SECONDS = 30, 5


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def greets(port: int, tls: bool) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            with (idle.any_certificate().wrap_socket(s) if tls else s) as spoken:
                if spoken.recv(4) != b"220 " and not tls:
                    return False
                spoken.sendall(b"QUIT\r\n")
                return True
    except OSError:
        return False


class Program:
    """A child in a session of its own, ended with all that it started."""

    def __init__(self, what: str, command: list, log: pathlib.Path, env: dict | None = None):
        self.what = what
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True, env={**os.environ, **(env or {})})

    def wait_port(self, port: int, tls: bool = False) -> None:
        """Returns once it greets; RuntimeError if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.what} ended with {self.process.returncode}: {self.tail()}")
            if greets(port, tls):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.what} does not greet on port {port}: {self.tail()}")

    def tail(self) -> str:
        lines = pathlib.Path(self.log.name).read_text(errors="replace").strip().splitlines()
        return lines[-1][-200:] if lines else ""

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self.signal(signal.SIGKILL)  # what outlived its leader, too
        self.process.wait()
        self.log.close()

    def cpu_seconds(self) -> float:
        return sum(cpu_of(pid) for pid in self.tree())

    def tree(self) -> list[int]:
        return tree(self.process.pid)


def stat_fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the third on."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                below.setdefault(int(stat_fields(int(entry))[1]), []).append(int(entry))
            except OSError:
                continue
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        todo += below.get(at, [])
    return found


def cpu_of(pid: int) -> float:
    """Seconds of this process and of its children that ended. The scheduler's account of its threads
    is in nanoseconds but lacks those that ended; the process's own has them but counts in ticks, rounded
    down: the larger of the two is the nearer."""
    try:
        user, system, children_user, children_system = (int(f) for f in stat_fields(pid)[11:15])
        threads = sum(int(task.read_text().split()[0])
                      for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))
    except (OSError, IndexError):
        return 0.0
    own = max((user + system) / TICKS, threads / 1e9)
    return own + (children_user + children_system) / TICKS


def machine_cpu() -> tuple[float, float]:
    """Seconds that all cores were busy since the start: with, and without serving interrupts, which
    the kernel charges to no process. Time stolen by other guests of the host counts as busy."""
    user, nice, system, _idle, _wait, irq, softirq, steal = (
        int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    of_processes = user + nice + system + steal
    return (of_processes + irq + softirq) / TICKS, of_processes / TICKS
