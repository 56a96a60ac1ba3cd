"""An SMTP server without sockets. Each of its replies hangs on the commands alone, never on time, so
that two runs of one client can be compared octet for octet. And the rules by which a transparent proxy
may change a dialogue (docs/proxy.md): `passed`."""
import dataclasses
import re
import zlib

LINE_MAX = 12_288  # octets of a command line that passes the proxy
BDAT = re.compile(rb"BDAT (\d{1,9})( LAST)?\r\n", re.IGNORECASE)
LIKE_BDAT = re.compile(rb"[\x00- ]*BDAT(?![A-Z0-9])", re.IGNORECASE)
MAIL = re.compile(rb"MAIL FROM:<([^<> ]*)>((?: [^ \r\n]+)*)\r\n", re.IGNORECASE)
RCPT = re.compile(rb"RCPT TO:<([^<> ]+)>((?: [^ \r\n]+)*)\r\n", re.IGNORECASE)
REPLY_END = re.compile(rb"\d{3}(?: [^\r\n]*)?\r\n")

# What it says of itself: registered, unregistered, odd in case and form.
OFFERS = (
    (b"PIPELINING", b"SIZE 35882577", b"8BITMIME", b"CHUNKING", b"BINARYMIME", b"SMTPUTF8", b"DSN",
     b"ENHANCEDSTATUSCODES", b"AUTH PLAIN LOGIN X-MANY SCRAM-SHA-256-PLUS", b"STARTTLS", b"PRDR",
     b"X-ODD thing", b"XCLIENT NAME ADDR", b"XFORWARD NAME", b"HELP"),
    (b"X-FIRST", b"chunking", b"Size", b"auth=plain login", b"AUTH X-MANY", b"LIMITS RCPTMAX=5 MAILMAX=9",
     b"REQUIRETLS", b"MT-PRIORITY MIXER", b"DELIVERBY 240", b"ETRN", b"VRFY", b"EXPN",
     b"NO-SOLICITING net.example:ADV", b"FUTURERELEASE 1000 2026-01-01T00:00:00Z", b"X-LAST \xc3\xa9"),
    (b"CHUNKING", b"BINARYMIME", b"PRDR", b"AUTH SCRAM-SHA-1-PLUS", b"STARTTLS"),
)
UNREGISTERED = (b"X-ODD", b"X-FIRST", b"X-LAST", b"STARTTLS", b"XCLIENT", b"XFORWARD")

STYLES = (
    lambda code, enhanced: [enhanced + b"fine"],
    lambda code, enhanced: [b"as you say"],
    lambda code, enhanced: [None],  # no blank behind the code
    lambda code, enhanced: [b""],
    lambda code, enhanced: [enhanced + b"one", enhanced + b"two", enhanced + b"three"],
    lambda code, enhanced: [b"line %d of many" % i for i in range(40)],
    lambda code, enhanced: [b"8 bit \xc3\xa4\xff\xfe", b"\t tabs  and blanks  "],
    lambda code, enhanced: [enhanced + b"long " + b"y" * 600],
    lambda code, enhanced: [None, b"", enhanced + b"end"],
    lambda code, enhanced: [b"%d looks like a code" % code, b"-", b" 250 ok", b"\x01\x7f"],
    lambda code, enhanced: [enhanced + b"z" * 3000, b"short"],
)


def reply(code, seed):
    """One reply, in the style that the seed tells."""
    enhanced = b"" if code // 100 == 3 else b"%d.%d.%d " % (code // 100, seed % 8, seed // 8 % 30)
    lines = STYLES[seed // 240 % len(STYLES)](code, enhanced)
    out = [b"%d-%s\r\n" % (code, line or b"") for line in lines[:-1]]
    out.append(b"%d\r\n" % code if lines[-1] is None else b"%d %s\r\n" % (code, lines[-1]))
    return b"".join(out)


def count_replies(octets):
    return sum(1 for line in octets.splitlines(keepends=True) if REPLY_END.fullmatch(line))


@dataclasses.dataclass
class Step:
    """A command with what belongs to it, and what was said to it."""
    took: bytes
    said: bytes
    kind: str = ""  # where a proxy is not transparent: what it is


class Dialogue:
    """Octets in by `feed`; `steps` is what became of them. `over`: nothing more is read."""

    def __init__(self, lmtp=False):
        self.lmtp = lmtp
        self.steps, self.input = [], b""
        self.state, self.over = self._command, False
        self.hello = self.chunking = self.user = False
        self.rounds = 0
        self._reset()

    def _reset(self):
        self.sender, self.recipients = None, 0
        self.prdr = self.binary = self.early = False

    def feed(self, octets):
        """Takes octets; gives what is said to them."""
        before = len(self.steps)
        self.input += octets
        while not self.over and self.state():
            pass
        return b"".join(step.said for step in self.steps[before:])

    @property
    def took(self):
        """All that came and was read, with what stands behind it unfinished."""
        return b"".join(step.took for step in self.steps) + (b"" if self.over else self.input)

    def _note(self, size, said, kind=""):
        self.steps.append(Step(self.input[:size], said, kind))
        self.input = self.input[size:]
        return True

    # ---- the states; true: something was read ----

    def _line(self):
        end = self.input.find(b"\r\n")
        return None if end < 0 else self.input[:end + 2]

    def _command(self):
        line = self._line()
        if line is None:
            return False
        if len(line) > LINE_MAX:
            return self._note(len(line), reply(500, zlib.crc32(line)), "long")
        if re.search(rb"[\r\n]", line[:-2]):
            return self._note(len(line), reply(500, zlib.crc32(line)), "bare")
        if LIKE_BDAT.match(line) and not BDAT.fullmatch(line):
            return self._note(len(line), reply(501, zlib.crc32(line)), "bdat-syntax")
        verb = line[:-2].split(b" ")[0].upper()
        name = "_do_" + verb.decode("ascii", "replace").lower()
        return getattr(self, name, self._do_unknown)(line, zlib.crc32(line))

    def _dialogue(self):
        """Lines of AUTH."""
        line = self._line()
        if line is None:
            return False
        if len(line) > LINE_MAX or re.search(rb"[\r\n]", line[:-2]):
            self.state = self._command
            return self._note(len(line), reply(500, 7), "long" if len(line) > LINE_MAX else "bare")
        seed = zlib.crc32(line)
        self.rounds -= 1
        if line != b"*\r\n" and self.rounds > 0:
            return self._note(len(line), b"334 %s\r\n" % (b"Y" * (seed % 40)))
        self.state = self._command
        code = 501 if line == b"*\r\n" else (235, 235, 535, 454)[seed % 4]
        self.user = code == 235
        return self._note(len(line), reply(code, seed))

    def _final(self, seed, code=None):
        """The replies to a whole message."""
        code = code or (250, 250, 250, 451, 554)[seed % 5]
        if self.lmtp and self.recipients:
            said = b"".join(reply((250, 450, 552)[(seed + i) % 3], seed + 241 * i)
                            for i in range(self.recipients))
        elif self.prdr and seed % 3:
            said = b"353 of each\r\n" + b"".join(
                reply((250, 450, 552)[(seed + i) % 3], seed + 241 * i) for i in range(self.recipients))
            said += reply(code, seed)
        else:
            said = reply(code, seed)
        self._reset()
        return said

    def _body(self):
        """Up to the dot. One that begins with EARLY is answered there and then, and not at its end."""
        if self.input.startswith(b"EARLY\r\n") and not (self.early or self.lmtp or self.prdr):
            self.early = True
            return self._note(7, reply(552, self.recipients))
        end = 0 if self.input.startswith(b".\r\n") else self.input.find(b"\r\n.\r\n") + 2
        if end == 1:
            return False
        self.state = self._command
        if self.early:
            self._reset()
            return self._note(end + 3, b"")
        return self._note(end + 3, self._final(zlib.crc32(self.input[:end])))

    # ---- commands ----

    def _greeting(self, line, seed, esmtp):
        if len(line.split()) < 2:
            return self._note(len(line), reply(501, seed))
        if seed % 9 == 0:
            return self._note(len(line), reply((550, 454, 504)[seed // 9 % 3], seed))
        self._reset()
        self.hello, self.chunking = True, esmtp
        if not esmtp:
            return self._note(len(line), reply(250, seed))
        lines = [b"dialogue.test greets you", *OFFERS[seed // 9 % len(OFFERS)]]
        said = b"".join(b"250-%s\r\n" % one for one in lines[:-1]) + b"250 %s\r\n" % lines[-1]
        return self._note(len(line), said, "hello")

    def _do_ehlo(self, line, seed):
        return self._note(len(line), reply(500, seed)) if self.lmtp else self._greeting(line, seed, True)

    def _do_lhlo(self, line, seed):
        return self._greeting(line, seed, True) if self.lmtp else self._note(len(line), reply(500, seed))

    def _do_helo(self, line, seed):
        return self._greeting(line, seed, False)

    def _do_mail(self, line, seed):
        match = MAIL.fullmatch(line)
        if not self.hello or self.sender is not None:
            return self._note(len(line), reply(503, seed))
        if not match or seed % 8 == 0:
            return self._note(len(line), reply(501 if not match else (451, 550)[seed // 8 % 2], seed))
        self.sender = seed
        parameters = match.group(2).upper().split()
        self.prdr, self.binary = b"PRDR" in parameters, b"BODY=BINARYMIME" in parameters
        return self._note(len(line), reply(250, seed))

    def _do_rcpt(self, line, seed):
        match = RCPT.fullmatch(line)
        if self.sender is None:
            return self._note(len(line), reply(503, seed))
        code = (250, 250, 251, 250, 450, 550, 452)[seed % 7] if match else 501
        self.recipients += code // 100 == 2
        return self._note(len(line), reply(code, seed))

    def _do_data(self, line, seed):
        if self.sender is None or not self.recipients or len(line) > 6:
            return self._note(len(line), reply(503 if self.sender is None else 554, seed))
        if self.sender % 7 == 0:
            return self._note(len(line), reply(451, seed + self.recipients))
        self.state = self._body
        return self._note(len(line), reply(354, self.sender if self.sender is not None else 0))

    def _do_bdat(self, line, seed):
        match = BDAT.fullmatch(line)
        size = len(line) + int(match.group(1))
        if len(self.input) < size:
            return False
        chunk = self.input[:size]
        if not self.chunking:
            return self._note(size, reply(503, seed), "bdat-unknown")
        seed = zlib.crc32(chunk)
        each = self.lmtp and match.group(2)  # a reply for each recipient, whatever becomes of it
        if not self.recipients or (seed % 9 == 0 and not each):
            if self.recipients or match.group(2):
                self._reset()
            return self._note(size, reply(503 if seed % 9 else 552, seed))
        return self._note(size, self._final(seed) if match.group(2) else reply(250, seed))

    def _do_rset(self, line, seed):
        self._reset()
        return self._note(len(line), reply(250, seed))

    def _do_noop(self, line, seed):
        return self._note(len(line), reply(250, seed))

    def _do_vrfy(self, line, seed):
        return self._note(len(line), reply((252, 250, 550, 502)[seed % 4], seed))

    def _do_expn(self, line, seed):
        return self._do_vrfy(line, seed)

    def _do_help(self, line, seed):
        return self._note(len(line), reply((214, 214, 502)[seed % 3], seed))

    def _do_quit(self, line, seed):
        if len(line) > 6:
            return self._note(len(line), reply(501, seed))
        self.over = True
        return self._note(len(line), reply(221, seed))

    def _do_auth(self, line, seed):
        words = line[:-2].split(b" ")
        mechanism = words[1].upper() if len(words) > 1 else b""
        if mechanism.endswith(b"-PLUS"):
            return self._note(len(line), reply(504, seed), "auth-bound")
        if not self.hello or self.user or self.sender is not None:
            return self._note(len(line), reply(503, seed))
        rounds = {b"PLAIN": 1, b"LOGIN": 2, b"X-MANY": 1 + seed % 6}.get(mechanism)
        if rounds is None:
            return self._note(len(line), reply(504, seed))
        self.rounds = rounds - (len(words) > 2)
        if self.rounds == 0:
            self.user = seed % 2 == 0
            return self._note(len(line), reply(235 if self.user else 535, seed))
        self.state = self._dialogue
        return self._note(len(line), b"334 VXNlcm5hbWU6\r\n" if seed % 2 else b"334\r\n")

    def _do_starttls(self, line, seed):
        return self._note(len(line), reply(502, seed), "starttls")

    def _do_xclient(self, line, seed):
        return self._note(len(line), reply(550, seed), "xclient")

    _do_xforward = _do_xclient

    def _do_xask(self, line, seed):
        return self._note(len(line), reply((334, 354, 300)[seed % 3], seed), "asks")

    def _do_x421(self, line, seed):
        self.over = True
        return self._note(len(line), reply(421, seed), "goodbye")

    def _do_xlater(self, line, seed):
        self.over = True
        return self._note(len(line), reply(250, seed) + reply(421, seed + 1), "goodbye")

    def _do_xdie(self, line, _seed):
        self.over = True
        return self._note(len(line), b"", "dies")

    def _do_unknown(self, line, seed):
        codes = (250, 500, 220, 451, 299) if line[:1] in b"Xx" else (500, 502, 555, 451)
        return self._note(len(line), reply(codes[seed % len(codes)], seed))


# ---- what a proxy may change ----

def own(code, enhanced):
    """A reply of the proxy's own: its code is what matters."""
    return re.compile(rb"%d %s [^\r\n]*\r\n" % (code, re.escape(enhanced.encode())))


INSTEAD = {  # the server does not hear of it, and the client hears this
    "starttls": own(502, "5.5.1"),
    "auth-bound": own(504, "5.5.4"),
    "xclient": own(550, "5.7.0"),
    "bdat-unknown": re.compile(rb"50[23] 5\.5\.1 [^\r\n]*\r\n"),
}
LAST = {  # and this is the end
    "long": own(500, "5.5.2"),
    "bare": own(500, "5.5.2"),
    "bdat-syntax": own(501, "5.5.4"),
}
UPSTREAM_BROKEN, UPSTREAM_LOST = own(421, "4.5.0"), own(421, "4.4.2")


@dataclasses.dataclass
class Passed:
    """What becomes of a step."""
    heard: bytes  # by the server
    said: object  # what the client hears: octets, or a pattern
    replies: int
    ends: bool = False

    def match(self, octets, at):
        """Where what the client heard of it ends, or None."""
        if isinstance(self.said, bytes):
            return at + len(self.said) if octets.startswith(self.said, at) else None
        match = self.said.match(octets, at)
        return match and match.end()


def passed_hello(said):
    """An EHLO reply without what is not for this client."""
    lines = []
    for line in said.split(b"\r\n")[:-1]:
        text = line[4:]
        words = text.split(b" ")
        if lines and words[0].upper() in UNREGISTERED:
            continue
        if lines and words[0].upper() == b"AUTH":
            words = [word for word in words if not word.upper().endswith(b"-PLUS")]
            if len(words) == 1:
                continue
            text = b" ".join(words)
        lines.append(text)
    return b"".join(b"250-%s\r\n" % one for one in lines[:-1]) + b"250 %s\r\n" % lines[-1]


def passed(step):
    """The rule of a proxy in clear text on both sides."""
    if step.kind in INSTEAD:
        return Passed(b"", INSTEAD[step.kind], 1)
    if step.kind in LAST:
        return Passed(b"", LAST[step.kind], 1, True)
    if step.kind == "asks":
        return Passed(step.took, UPSTREAM_BROKEN, 1, True)
    if step.kind == "dies":
        return Passed(step.took, UPSTREAM_LOST, 1, True)
    if step.kind == "hello":
        return Passed(step.took, passed_hello(step.said), 1)
    return unchanged(step)


def unchanged(step):
    """The rule where there is no proxy."""
    return Passed(step.took, step.said, count_replies(step.said), step.kind in ("goodbye", "dies"))
