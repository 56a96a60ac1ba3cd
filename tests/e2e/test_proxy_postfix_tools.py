"""Postfix's smtp-source with each of its options, and smtp-sink with each of its faults: what both say
of a session is the same through the transparent proxy as without it."""
import dataclasses
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import PEERS, wait_until
from octet_sink import proxy_config, proxy_listener
from test_clients import free_port, need

COMMANDS = ("HELO", "MAIL", "RCPT", "DATA", ".", "QUIT")
SECONDS = 60
# What differs from run to run, and what each run says of its own sockets.
NOISE = re.compile(r"name_mask|vstream_tweak|stream buffer size|smtp_stream_setup|trying\.\.\.|connect \(AF_|"
                   r"non-multi_server|disconnect")
CHANGES = [(re.compile(pattern), to) for pattern, to in (
    (r"^\S*/smtp-(source|sink): ", ""),
    (r"\b(id )?[0-9a-f]{4,8}(\.[0-9a-f]{4}\.[0-9a-f]{4})?(@|;)", r"ID\3"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d+ \w+ \d+ [\d:]+ [-+]\d{4} \(\w+\)", "DATE"),
    (r"X-Client-Addr: \S+|\(\[[^\]]*\]\)", "ADDRESS"),
    (r"127\.0\.0\.1:\d+", "PORT"),
)]


@dataclasses.dataclass
class Outcome:
    """What both programs said and left."""
    code: int
    source: list
    sink: list
    sink_code: int
    dumps: list


def tidied(text):
    lines = []
    for line in text.splitlines():
        for pattern, to in CHANGES:
            line = pattern.sub(to, line)
        if not NOISE.search(line):
            lines.append(line)
    return lines


def listens(port):
    """Looked up, not tried: a connection would be the sink's first session."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if int(words[1].rpartition(":")[2], 16) == port and words[3] == "0A":
                return True
    return False


class Scene:
    """A port for sinks, one after the other, and proxies in front of it."""

    def __init__(self, stage, folder):
        self.port, self.folder, self.runs = free_port(), folder, 0
        self.proxy = stage.serve(proxy_config(proxy_listener(self.port),
                                              proxy_listener(f"lmtp://127.0.0.1:{self.port}")))

    def run(self, source, sink, lmtp, through):
        self.runs += 1
        dumps = self.folder / str(self.runs)
        dumps.mkdir()
        (self.folder / "message").write_bytes(b"Subject: given\n\n.dot\n..\nend\n")
        words = {"{dumps}": str(dumps), "{message}": str(self.folder / "message")}
        source, sink = ([word if not word.startswith("{") else words[word[:word.index("}") + 1]] +
                         word[word.index("}") + 1:] for word in words_of] for words_of in (source, sink))
        port = self.proxy.port(1 if lmtp else 0) if through else self.port
        if lmtp:  # which shows the reply to LHLO; these are not for a client that the proxy does not know
            sink = ["-C", "-F", *sink]
        if "-d" not in sink and "-D" not in sink:
            sink = ["-d", f"{dumps}/%M.", *sink]
        # In a session of its own: its wrapper and itself are one process, which is ended by its id.
        server = subprocess.Popen(
            [need(PEERS / "bin" / "smtp-sink"), "-v", *(["-L"] if lmtp else []), *sink,
             f"127.0.0.1:{self.port}", "64"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        try:
            wait_until(lambda: listens(self.port), 20, "smtp-sink")
            done = subprocess.run(
                [need(PEERS / "bin" / "smtp-source"), "-v", *(["-L"] if lmtp else []), "-M", "source.test",
                 *source, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=SECONDS, check=False)
            self._let_it_finish(server)
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=SECONDS)[0]
        texts = [path.read_text("latin-1") for path in sorted(dumps.rglob("*")) if path.is_file()]
        return Outcome(done.returncode, tidied(done.stdout.decode("latin-1")), tidied(said.decode("latin-1")),
                       server.returncode,
                       sorted("\n".join(tidied(text)) for text in texts if text))

    def _let_it_finish(self, server):
        """Until no connection of the sink is open, so that it has said all it will."""
        def quiet():
            if server.poll() is not None:
                return True
            ends = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            return not any(int(words[1].rpartition(":")[2], 16) == self.port and words[3] in ("01", "08")
                           for words in ends)
        wait_until(quiet, 20, "the end of the sink's sessions")


@pytest.fixture(scope="module")
def scene(module_stage, tmp_path_factory):
    return Scene(module_stage, tmp_path_factory.mktemp("sink"))


PLAIN = ("-m", "2", "-f", "a@example.com", "-t", "b@example.net", "-l", "3000")

SOURCES = {
    "plain": PLAIN,
    "ipv4": ("-4", *PLAIN),
    "no-abort": ("-A", *PLAIN),
    "counter": ("-c", *PLAIN),
    "connect-count": ("-C", "3", *PLAIN),
    "kept": ("-d", *PLAIN),
    "file": ("-F", "{message}", "-m", "2", "-f", "a@example.com", "-t", "b@example.net"),
    "small": ("-m", "1", "-l", "1", "-f", "a@example.com", "-t", "b@example.net"),
    "large": ("-m", "1", "-l", "3000000", "-f", "a@example.com", "-t", "b@example.net"),
    "numbered": ("-N", *PLAIN),
    "old": ("-o", *PLAIN),
    "recipients": ("-r", "50", *PLAIN),
    "recipients-numbered": ("-N", "-r", "7", *PLAIN),
    "random-wait": ("-R", "1", *PLAIN),
    "subject": ("-S", "hello there", *PLAIN),
    "window": ("-T", "4096", *PLAIN),
    "null-sender": ("-m", "1", "-f", "", "-t", "b@example.net"),
    "wait": ("-w", "1", *PLAIN),
}
LMTP_SOURCES = ("plain", "kept", "recipients", "recipients-numbered", "file")

SINKS = {
    "ipv4": ("-4",),
    "no-8bitmime": ("-8",),
    "no-sasl": ("-a",),
    "counters": ("-c",),
    "no-xclient": ("-C",),
    "dump-each": ("-d", "{dumps}/%M."),
    "dump-all": ("-D", "{dumps}/all"),
    "no-esmtp": ("-e",),
    "no-enhanced-codes": ("-E",),
    "no-xforward": ("-F",),
    "hostname": ("-h", "other.test"),
    "read-later": ("-H", "1"),
    "connections": ("-m", "1"),
    "messages": ("-M", "20"),
    "sessions": ("-n", "2"),
    "no-dsn": ("-N",),
    "no-pipelining": ("-p",),
    "pix": ("-P",),
    "logged": ("-s", "MAIL,RCPT"),
    "start-string": ("-S", r"\nBEGIN\n", "-D", "{dumps}/all"),
    "timeout": ("-t", "30"),
    "window": ("-T", "2048"),
    "data-later": ("-w", "1"),
    "reply-later": ("-W", "RCPT:1"),
    "soft-text": ("-b", "451 4.7.1 come back: 100%", "-r", "RCPT"),
    "hard-text": ("-B", "521 5.5.5 never", "-f", "RCPT"),
    "both": ("-r", "MAIL", "-f", "RCPT", "-b", "450 soft", "-B", "550 hard"),
    **{f"hard-{name}": ("-f", name) for name in ("CONNECT", *COMMANDS)},
    **{f"soft-{name}": ("-r", name) for name in ("CONNECT", *COMMANDS)},
    **{f"goodbye-{name}": ("-Q", name) for name in ("CONNECT", *COMMANDS)},
}


def compare(scene, source, sink, lmtp=False):
    direct = scene.run(source, sink, lmtp, False)
    through = scene.run(source, sink, lmtp, True)
    assert through == direct
    return direct


@pytest.mark.parametrize("name", SOURCES)
def test_smtp_source__each_option_is_the_same_through_the_proxy(scene, name):
    found = compare(scene, SOURCES[name], ())
    assert found.code == 0 and found.dumps


@pytest.mark.parametrize("name", LMTP_SOURCES)
def test_smtp_source__lmtp_is_the_same_through_the_proxy(scene, name):
    found = compare(scene, SOURCES[name], (), lmtp=True)
    assert found.code == 0 and found.dumps


@pytest.mark.parametrize("name", SINKS)
def test_smtp_sink__each_fault_is_the_same_through_the_proxy(scene, name):
    compare(scene, PLAIN, SINKS[name])
    if name.startswith(("hard", "soft")):
        compare(scene, ("-A", "-d", "-r", "3", *PLAIN), SINKS[name])


@pytest.mark.parametrize("name", ["hard-RCPT", "soft-.", "goodbye-.", "no-pipelining"])
def test_smtp_sink__faults_of_lmtp_are_the_same_through_the_proxy(scene, name):
    compare(scene, ("-A", "-r", "3", *PLAIN), SINKS[name], lmtp=True)


@pytest.mark.parametrize("sink", [*(("-q", name) for name in ("CONNECT", *COMMANDS)), ("-M", "1")],
                         ids=["CONNECT", *COMMANDS, "messages"])
def test_smtp_sink__that_disconnects_is_told_in_smtp(scene, sink):
    """The one difference: where the server goes without a word the client hears 421."""
    one = ("-m", "1", *PLAIN[2:])
    direct, through = (scene.run(one, sink, False, through) for through in (False, True))
    assert direct.code == 1 and (through.code == 1 or "QUIT" in sink)
    assert through.sink == direct.sink and through.dumps == direct.dumps
    told = next(i for i, line in enumerate(through.source) if line.startswith("<<< 421 4.4.2"))
    assert through.source[:told] == direct.source[:told]


def test_smtp_sink__that_aborts_behind_354_is_the_same_through_the_proxy(scene):
    """-A: 550 and the end while the body is on its way; how much of it left is nobody's promise."""
    for through in (False, True):
        found = scene.run(("-m", "1", "-l", "500000", "-f", "a@example.com", "-t", "b@example.net"),
                          ("-A", "0"), False, through)
        assert found.code == 1 and not any("250 2.0.0" in line for line in found.source), found
