"""Sessions by chance: the same seed and number give the same session on every machine."""
import dataclasses
import random

from dialogue import Dialogue, LINE_MAX

WORDS = ("alice", "bob", "x" * 64, "o'hara", '"a b"', "grüße", "%d", "a+b", "\x7f", "postmaster", "")
DOMAINS = ("example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--bcher-kva.example", "y" * 300, "-", "")
PARAMETERS = ("SIZE=1000", "SIZE=99999999999999999999", "BODY=8BITMIME", "SMTPUTF8", "RET=HDRS",
              "ENVID=a+2Bb", "AUTH=<>", "AUTH=a+40b", "MT-PRIORITY=3", "BY=120;R", "REQUIRETLS", "HOLDFOR=5",
              "X-UNKNOWN=1", "PRDR", "prdr", "=", "NOTIFY=NEVER", "ORCPT=rfc822;a@b", "")
UNKNOWN = ("XYZZY", "xfoo bar baz", "Xa 1 2 3", "FOO", "", " ", "\t", "123", "250 ok", ".", "..", "MAILFROM:<a>",
           "\x00\x01\x02", "ÄÖÜ", "ONEX", "VERB on", "TICK 1", "ETRN example.net", "TURN", "ATRN a.example",
           "SEND FROM:<a@example.com>", "SOML FROM:<a@example.com>", "DATA now", "QUIT now", "RSET now",
           "NOOP" + " word" * 300, "ETRN", "BURL imap://example.com/", "EHLOX", "A" * 2000, "X" + "b" * 11_000)
PLAIN_COMMANDS = ("NOOP", "noop", "NOOP some words", "HELP", "HELP mail", "VRFY alice", "vrfy <bob@example.com>",
                  "EXPN staff", "RSET", "rset", "VRFY")


@dataclasses.dataclass
class Segment:
    octets: bytes
    cuts: list  # where it is cut into writes
    wait: bool  # for all replies to what was sent so far


class Chance:
    def __init__(self, seed, number):
        self.random = random.Random(f"{seed}/{number}")
        self.lmtp = self.random.random() < 0.15
        self.segments, self.group = [], []
        self.shadow = Dialogue(self.lmtp)  # what the server makes of it
        self._make()

    # ---- octets ----

    def one(self, choices):
        return self.random.choice(choices)

    def often(self, share):
        return self.random.random() < share

    def case(self, word):
        return word if self.often(0.8) else "".join(self.one((c.lower(), c.upper())) for c in word)

    def say(self, text):
        self.group.append((text.encode() if isinstance(text, str) else text) + b"\r\n")

    def flush(self, wait=True):
        octets = b"".join(self.group)
        self.group = []
        if not octets:
            return
        self.shadow.feed(octets)
        cuts = sorted(self.random.randrange(len(octets)) for _ in range(self.one((0, 0, 1, 2, 7))))
        self.segments.append(Segment(octets, cuts, wait))

    def pause(self, share=0.4):
        """Perhaps the end of a group of commands; perhaps one whose replies are waited for."""
        if self.often(share):
            self.flush(self.often(0.8))

    def path(self, null=0.1):
        return "" if self.often(null) else f"{self.one(WORDS)}@{self.one(DOMAINS)}"

    def parameters(self):
        return "".join(" " + self.one(PARAMETERS) for _ in range(self.one((0, 0, 0, 1, 2, 6))))

    def body(self):
        """Lines with dots in front, empty ones, long ones, 8 bit."""
        lines = []
        for _ in range(self.one((0, 1, 3, 30))):
            line = self.one((b".", b"..", b"", b".x", b"text", b"x" * 998, b"\xff\xfe\x80", b"a.b", b"EARLY",
                             b"QUIT now", b" .", b"%d" % self.random.randrange(10**9)))
            lines.append(b"." + line if line.startswith(b".") else line)
        if self.often(0.03):
            lines.append(b"w" * self.random.randrange(20_000, 200_000))
        if self.often(0.1):
            lines.insert(0, b"EARLY")
        return b"".join(line + b"\r\n" for line in lines)

    # ---- commands ----

    def anything(self):
        kind = self.random.random()
        if kind < 0.6:
            self.say(self.one(PLAIN_COMMANDS))
        elif kind < 0.93:
            self.say(self.one(UNKNOWN))
        elif kind < 0.96:
            self.say("X" * (LINE_MAX - 2))  # the longest that passes
        else:
            self.say(self.one(("STARTTLS", "STARTTLS now", "AUTH SCRAM-SHA-256-PLUS AAAA", "XCLIENT ADDR=192.0.2.1",
                               "XFORWARD NAME=a", "xclient", "BDAT 0 LAST")))
            self.flush(True)  # no octets stand behind STARTTLS

    def hello(self):
        verb = "LHLO" if self.lmtp else "EHLO"
        if self.often(0.15):
            verb = "HELO"
        self.say(f"{self.case(verb)} {self.one(('client.test', '[127.0.0.1]', 'a b', '', 'ü', '.'))}"
                 f"{self.random.randrange(1000)}")
        if self.often(0.05):
            self.say(self.case(verb))
        self.pause(0.8)

    def auth(self):
        mechanism = self.one(("PLAIN", "LOGIN", "X-MANY", "x-many", "CRAM-MD5", "", "GSSAPI"))
        self.say(f"{self.case('AUTH')} {mechanism}{self.one(('', ' AGFiYwBkZWY=', ' =', ' ' + 'A' * 5000))}")
        self.pause(0.7)
        for _ in range(self.one((0, 1, 2, 5))):
            self.say(self.one(("dXNlcg==", "", "*", "=", "B" * 9000, f"{self.random.randrange(10**9)}")))
            self.pause(0.7)
        self.flush(True)

    def chunks(self):
        self.flush(self.often(0.5))
        binary = self.shadow.binary  # else bare newlines would be refused
        data = self.body()
        if binary:
            data += bytes(self.random.randrange(256) for _ in range(self.one((0, 10, 500))))
        while True:
            size = min(len(data), self.one((0, 1, 10, 1000, 10**6)))
            while not binary and data[:size].endswith(b"\r"):
                size += 1
            last = size == len(data)
            self.say(f"{self.case('BDAT')} {size}{self.case(' LAST') if last else ''}")
            self.group.append(data[:size])
            data = data[size:]
            self.pause(0.3)
            if last:
                return

    def data(self):
        self.say(self.case("DATA"))
        self.pause(0.9)
        self.group.append(self.body())
        if self.often(0.3):
            self.pause(0.5)
        self.group.append(b".\r\n")

    def transaction(self):
        binary = " BODY=BINARYMIME" if self.often(0.15) else ""
        self.say(f"{self.case('MAIL')} {self.case('FROM')}:<{self.path()}>{self.parameters()}{binary}")
        self.pause()
        for _ in range(self.one((1, 1, 2, 3, 6, 45))):
            self.say(f"{self.case('RCPT')} {self.case('TO')}:<{self.path(0.02)}>{self.parameters()}")
            self.pause(0.15)
            if self.often(0.06):
                self.anything()
        if self.often(0.1):
            return
        if self.often(0.35):
            self.chunks()
        else:
            self.data()
        self.pause()

    def strange_end(self):
        """What ends a session, often for a reason of which the proxy has its own view."""
        self.flush(True)
        self.say(self.one(("XDIE", "X421", "XLATER", "XASK", "Z" * LINE_MAX, "NOOP\nRSET", "NO\rOP", "\nNOOP",
                           "BDAT", "BDAT x", "BDAT 5 FIRST", "BDAT -1", "BDAT 5 LAST x")))
        if self.often(0.5):
            self.say("NOOP")
        self.flush(True)

    def _make(self):
        if self.often(0.1):
            self.anything()
        for _ in range(self.one((1, 1, 1, 2))):
            self.hello()
            if self.often(0.25):
                self.auth()
            for _ in range(self.one((0, 1, 1, 2, 3))):
                if self.often(0.3):
                    self.anything()
                self.transaction()
        if self.often(0.12):
            self.strange_end()
        elif self.often(0.8):
            self.say(self.case("QUIT"))
            if self.often(0.1):
                self.say("NOOP")  # nobody hears it
        elif self.often(0.3):
            self.group.append(self.one((b"NOO", b"MAIL FROM:<", b"NOOP\r")))  # cut off
        self.flush(False)
