"""`smtpmux demo`: it ends well, says so in its last line, and is there to be tried with --keep."""
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SMTPMUX") or str(ROOT / "build-asan/smtpmux")
SECONDS = 30
CELL = re.compile(r"(\d+)  250 (alpha|beta) *(\*?)")


def run(*arguments):
    return subprocess.run([BINARY, "demo", *arguments], capture_output=True, text=True,
                          timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def done():
    return run()


def phases(text):
    """The cells of each phase: (number, provider, star)."""
    return [CELL.findall(part) for part in re.split(r"^  \d\. ", text, flags=re.MULTILINE)[1:]]


def test_demo__sixty_messages_and_none_lost(done):
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "60 accepted, 60 delivered, 0 lost, 0 doubled"


def test_demo__every_message_is_told_with_its_provider(done):
    cells = [cell for phase in phases(done.stdout) for cell in phase]
    assert [int(number) for number, _, _ in cells] == list(range(1, 61))


def test_demo__a_provider_that_fails_is_asked_and_the_other_one_takes_it(done):
    well, down, put_off, hung_up, again = phases(done.stdout)
    for phase, failing in ((down, "alpha"), (put_off, "beta"), (hung_up, "alpha")):
        assert failing not in {provider for _, provider, _ in phase}
        assert sum(star == "*" for _, _, star in phase) == 6
    for phase in (well, again):
        assert [provider for _, provider, _ in phase].count("alpha") == 6
        assert not any(star for _, _, star in phase)


def test_demo__the_table_adds_up(done):
    rows = {name: list(map(int, numbers.split())) for name, numbers in re.findall(
        r"^  (alpha|beta) +((?: *\d+)+)$", done.stdout, re.MULTILINE)}
    taken = {name: sum(provider == name for phase in phases(done.stdout) for _, provider, _ in phase)
             for name in rows}
    assert rows == {"alpha": [taken["alpha"], 0, 12, 12], "beta": [taken["beta"], 6, 0, 6]}


def test_demo__no_colours_and_no_line_too_long_where_there_is_no_terminal(done):
    assert "\033" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.isascii()


@pytest.mark.parametrize("count", [1, 4, 203])
def test_demo__any_number_of_messages(count):
    done = run("--messages", str(count))
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == (
        f"{count} accepted, {count} delivered, 0 lost, 0 doubled")


@pytest.mark.parametrize("count", ["0", "-1", "many", "100001", ""])
def test_demo__a_number_that_is_none_is_refused(count):
    done = run("--messages", count)
    assert done.returncode == 64
    assert "1 to 100000" in done.stderr


def test_demo__the_log_is_shown_when_asked_for():
    done = run("--log", "--messages", "10")
    assert done.returncode == 0
    assert len(re.findall(r"outcome=delivered", done.stderr)) == 10
    assert "attempt_failed" in done.stderr


class Kept:
    """`demo --keep`, and what it has said so far."""

    def __init__(self):
        self.process = subprocess.Popen([BINARY, "demo", "--keep", "--messages", "5"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL)
        self.said = ""

    def read_until(self, pattern):
        deadline = time.monotonic() + SECONDS
        while not (match := re.search(pattern, self.said, re.MULTILINE)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in:\n{self.said}"
            if select.select([self.process.stdout], [], [], left)[0]:
                got = os.read(self.process.stdout.fileno(), 65536).decode()
                assert got, f"it ended, without {pattern!r} in:\n{self.said}"
                self.said += got
        return match


@pytest.fixture
def kept():
    one = Kept()
    yield one
    if one.process.poll() is None:
        one.process.kill()
    one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_demo__keep_stays_until_a_signal_ends_it(kept, number):
    kept.read_until(r"Ctrl-C ends the demo\.")
    assert "5 accepted, 5 delivered, 0 lost, 0 doubled" in kept.said
    kept.process.send_signal(number)
    assert kept.process.wait(SECONDS) == 0
    assert kept.process.stderr.read() == b""


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not here")
def test_demo__the_line_for_swaks_works_as_it_is(kept):
    line = kept.read_until(r"^swaks .*$")[0]
    kept.read_until(r"Ctrl-C ends the demo\.")
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=SECONDS,
                          check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^<-  250 .*(alpha|beta)", done.stdout, re.MULTILINE)
    kept.read_until(r"(alpha|beta) +took a message from <app@example\.com>: test ")
    wrong = subprocess.run(shlex.split(line) + ["--auth-password", "wrong"], capture_output=True,
                           text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    assert wrong.returncode != 0
