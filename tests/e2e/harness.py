"""The daemon under test: starts `smtpmux serve`, reads its log, stops it, and looks at how it ended."""
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SMTPMUX", str(REPO / "build-asan" / "smtpmux"))
PEERS = Path(os.environ.get("SMX_PEERS", REPO / "build" / "peers"))
VECTORS = Path(os.environ.get("SMX_VECTORS", REPO.parent / "shared" / "vectors"))

APP = "app@example.com"  # the user as whom clients on loopback send, unless a test says otherwise
HOSTNAME = "mux.test"
START_SECONDS, STOP_SECONDS = 20, 40

PAIR = re.compile(r'([A-Za-z0-9_.-]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
SANITIZER = re.compile(r"Sanitizer|runtime error:|^==\d+==")


def wait_until(condition, seconds=20, what="the expected state"):
    """Polls until `condition()` is true, and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(0.005)


def parse_logfmt(line):
    """The fields of a line of logfmt, or None if it is something else."""
    if not line.startswith("time="):
        return None

    def plain(match):
        escaped = match.group(1)
        return chr(int(escaped[1:], 16)) if len(escaped) == 3 else escaped

    return {key: bare if not quoted else ESCAPE.sub(plain, quoted)
            for key, quoted, bare in PAIR.findall(line)}


def parse_line(line):
    if line.startswith("{"):
        return json.loads(line)
    return parse_logfmt(line)


def secrets_in(config):
    """Every password of a configuration."""
    found = set()
    for user in config.get("users", []):
        found.add(user.get("password"))
    for upstream in config.get("upstreams", {}).values():
        found.add(upstream.get("pass"))
        found.update(upstream.get("oauth2", {}).get(key) for key in ("client_secret", "refresh_token"))
    return {secret for secret in found if secret and len(secret) > 5}


def make_config(upstreams=(), users=None, listeners=None, **top):
    """A configuration with short defaults. `upstreams`: providers, or mappings; they are called p0, p1
    and so on unless they come as a mapping. Without `users` there is APP, who has all of them.
    Connections are not opened ahead unless a test says so: most count what a provider sees."""
    if not isinstance(upstreams, dict):
        upstreams = {f"p{i}": one for i, one in enumerate(upstreams)}
    upstreams = {name: {"open_ahead": False, **(one if isinstance(one, dict) else {"url": one.url})}
                 for name, one in upstreams.items()}
    if users is None:
        users = [{"email": APP, "upstreams": list(upstreams)}]
    if listeners is None:
        listeners = [{}]
    for listener in listeners:
        listener.setdefault("listen", "127.0.0.1:0")
        if "auth" not in listener and "trust" not in listener:
            listener["trust"] = {"127.0.0.0/8": users[0]["email"]}
    return {"hostname": HOSTNAME, "workers": 2, "listeners": listeners, "upstreams": upstreams,
            "users": users, **top}


class Mux:
    """One daemon. Its log is read by a thread; `lines` are the parsed lines, `raw` all of them."""

    def __init__(self, config, folder, prefix=()):
        self.config = config
        self.path = Path(folder) / "config.yaml"
        self.path.write_text(json.dumps(config, indent=1))
        self.raw, self.lines, self.strange = [], [], []
        # Its own session: a signal of the terminal reaches pytest alone.
        self.process = subprocess.Popen(
            [*prefix, PROGRAM, "serve", "-c", str(self.path)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True, env=self._environment())
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.stopped = False
        try:
            wait_until(lambda: self.find("ready") or self.process.poll() is not None, START_SECONDS,
                       "event=ready")
            if self.process.poll() is not None:
                self.reader.join(5)  # its last words
            assert self.find("ready"), "the daemon did not start:\n" + "\n".join(self.raw)
        except AssertionError:
            self.kill()
            raise
        self.addresses = [line["address"] for line in self.find("listening")]

    @staticmethod
    def _environment():
        return {**os.environ,
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=1"),
                "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")}

    def _read(self):
        for octets in self.process.stderr:
            line = octets.decode("utf-8", "backslashreplace").rstrip("\n")
            self.raw.append(line)
            fields = parse_line(line)
            if fields is None:
                self.strange.append(line)
            else:
                self.lines.append(fields)

    def port(self, nth=0):
        return int(self.addresses[nth].rpartition(":")[2])

    # ---- the log ----

    def find(self, event, **fields):
        return [line for line in list(self.lines) if line["event"] == event
                and all(str(line.get(key)) == str(value) for key, value in fields.items())]

    def wait(self, event, count=1, seconds=20, **fields):
        """The first `count` lines of this event with these fields; of one, the line itself."""
        wait_until(lambda: len(self.find(event, **fields)) >= count, seconds,
                   f"event={event} {fields} ({count} times)")
        found = self.find(event, **fields)
        return found[0] if count == 1 else found

    def summary(self, **fields):
        return self.wait("message", **fields)

    # ---- the end ----

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_end(self, seconds=STOP_SECONDS):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the daemon did not end within {seconds} s:\n" + self.tail()) from None
        self.reader.join(5)
        self.stopped = True
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.stopped = True

    def tail(self):
        return "\n".join(self.raw[-60:])

    def stop(self):
        """Ends it, and sees that it ended well and told no secret."""
        if not self.stopped:
            if self.process.poll() is None:
                self.signal()
            self.wait_end()
        reports = [line for line in self.raw if SANITIZER.search(line)]
        assert not reports, "a sanitizer's report:\n" + "\n".join(self.strange[:80])
        assert self.process.returncode == 0, f"exit code {self.process.returncode}:\n" + self.tail()
        assert not self.strange, "lines that are no log lines:\n" + "\n".join(self.strange[:20])
        for secret in secrets_in(self.config):
            assert not [line for line in self.raw if secret in line], "a secret stands in the log"

    def memory_kib(self):
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
