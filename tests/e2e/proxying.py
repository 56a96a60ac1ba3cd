"""Daemons with listeners of the mode proxy, and `smtpmux proxy`."""
import json
import os
import re
import subprocess
import threading
from pathlib import Path

from harness import HOSTNAME, PROGRAM, SANITIZER, parse_logfmt, wait_until


def make_proxy(upstream, **listener):
    """The configuration of one proxy on one worker."""
    url = upstream if isinstance(upstream, (str, dict)) else upstream.url
    listener = {"listen": "127.0.0.1:0", "mode": "proxy", "upstream": url, **listener}
    return {"hostname": HOSTNAME, "workers": 1, "admin": {"listen": "off"}, "listeners": [listener]}


def records(path, count):
    """The first `count` lines of an audit file, which must be whole."""
    path = Path(path)
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, 20,
               f"{count} lines of {path}")
    return [json.loads(line) for line in path.read_text().splitlines()]


class Program:
    """A verb of the program that runs until a signal; its output is read by threads."""

    def __init__(self, *arguments, **options):
        self.process = subprocess.Popen(
            [PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, start_new_session=True, env=dict(os.environ), **options)
        self.out, self.err = [], []
        self.threads = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, lines):
        for octets in stream:
            lines.append(octets.decode("utf-8", "backslashreplace").rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self.threads:
            thread.join(5)
        assert not [line for line in self.err if SANITIZER.search(line)], "\n".join(self.err)

    def port(self):
        def listening():
            for line in self.err:
                match = re.search(r"event=listening address=\S+:(\d+)", line)
                if match:
                    return int(match.group(1))
            assert self.process.poll() is None, "\n".join(self.err)
            return None
        return wait_until(listening, 20, "event=listening")

    def events(self, name):
        found = [parse_logfmt(line) for line in list(self.err)]
        return [line for line in found if line and line["event"] == name]

    def wait_out(self, pattern, seconds=20):
        """The first line of standard output that matches."""
        return wait_until(lambda: next((line for line in list(self.out) if re.search(pattern, line)),
                                       None), seconds, pattern)

    def end(self, number, seconds=20):
        """The exit code behind a signal."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        for thread in self.threads:
            thread.join(5)
        return code
