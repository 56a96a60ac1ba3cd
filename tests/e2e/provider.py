"""A provider that does what a test tells it: refuses, resets, stalls and lies, at any phase, and
writes down every command and every message that it got whole."""
import base64
import dataclasses
import hashlib
import re
import select
import socket
import ssl
import struct
import threading
import time

EXTENSIONS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 104857600", "CHUNKING")
GARBAGE = b"\x80\x81\xff\x00 what is this\r\n\r\n"
OVERSIZE = b"250-" + b"x" * 200_000 + b"\r\n"
BODY_BEFORE_FAULT = 100_000


@dataclasses.dataclass
class Message:
    """One that came whole: the dot, or BDAT LAST, was seen."""
    mail: str  # the arguments of MAIL FROM and RCPT TO as they came
    rcpt: list
    data: bytes  # unstuffed
    chunked: bool
    code: int  # what the client was told; 0: nothing
    session: "Session"
    octets: bytes = b""  # as they came, dots and all
    at: float = 0  # when it was whole, monotonic

    @property
    def added(self):
        """The Received field that the multiplexer put on top."""
        assert self.data.startswith(b"Received:"), self.data[:200]
        end = 0
        while True:
            end = self.data.index(b"\r\n", end) + 2
            if self.data[end:end + 1] not in (b" ", b"\t"):
                return self.data[:end]

    @property
    def original(self):
        return self.data[len(self.added):]

    @property
    def sha256(self):
        return hashlib.sha256(self.original).hexdigest()


@dataclasses.dataclass
class Session:
    number: int
    commands: list = dataclasses.field(default_factory=list)  # lines, verbs in capitals as they came
    tls: bool = False
    user: str = None
    mechanism: str = None
    token: str = None  # what it came with, good or not
    peer: str = None  # where it came from
    server_name: str = None
    pipelined: int = 0  # commands that had come before the reply to the one before
    ended: bool = False
    closing: bool = False  # QUIT came
    body: bytearray = None  # of the message that is on its way by DATA, as far as it came

    def verbs(self):
        return [line.split(" ")[0].split(":")[0].upper() for line in self.commands]


class Over(Exception):
    """This connection ends."""


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Provider:
    """`faults`: phase -> what to do there, each time; or a list, of which each occurrence takes one.

    Phases: connect tls banner ehlo starttls auth noop mail rcpt data body dot after-dot quit.
    What: refuse and stall (of connect), close, reset, stall, garbage, oversize, a reply as
    "451 4.3.0 not now" (421 closes behind it), octets that are sent as they are, None for nothing, or a
    function of the connection that returns one of these.
    """

    def __init__(self, faults=None, *, tls=None, context=None, users=None, mechanisms="PLAIN LOGIN",
                 extensions=EXTENSIONS, latency=0.0, slow_dot=0.0, host="127.0.0.1", scheme=None, name=None,
                 hello="provider.test"):
        self.faults = dict(faults or {})
        self.tls, self.context = tls, context
        self.users, self.mechanisms = users, mechanisms
        self.extensions, self.latency, self.slow_dot = tuple(extensions), latency, slow_dot
        self.hello = hello
        self.messages, self.sessions = [], []
        self.open, self.most_open = 0, 0  # connections at a time; one is over with its QUIT
        self.before_dot = threading.Event()  # a body is on its way
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.sockets, self.threads = set(), []
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if "body" in self.faults:
            # Else the kernel may take in more than a whole body while nobody reads.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.bind((host, 0))
        self.port = self.socket.getsockname()[1]
        scheme = scheme or {"implicit": "smtps", "starttls": "smtp+tls"}.get(tls, "smtp")
        self.url = f"{scheme}://{name or host}:{self.port}"
        self.fillers = []
        if self.faults.get("connect") == "stall":
            self._fill_backlog()
        elif self.faults.get("connect") != "refuse":
            self.listen()

    def _fill_backlog(self):
        """With a full backlog the kernel drops further SYNs: connecting takes for ever."""
        self.socket.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.socket.getsockname())
            self.fillers.append(filler)

    def listen(self):
        """A provider whose connect was refused takes connections from now on."""
        self.faults.pop("connect", None) if self.faults.get("connect") == "refuse" else None
        self.socket.listen(512)
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self.threads.append(thread)

    def _accept(self):
        while True:
            try:
                sock, peer = self.socket.accept()
            except OSError:
                return
            with self.lock:
                session = Session(len(self.sessions), peer=peer[0] if isinstance(peer, tuple) else None)
                self.sessions.append(session)
                self.sockets.add(sock)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            threading.Thread(target=Connection(self, sock, session).run, daemon=True).start()

    def close(self):
        self.released.set()
        for sock in (self.socket, *self.fillers, *list(self.sockets)):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if sock not in self.sockets:
                sock.close()

    # ---- what tests ask ----

    @property
    def connections(self):
        return len(self.sessions)

    @property
    def taken(self):
        """Messages that it said 250 to."""
        return [message for message in list(self.messages) if message.code == 250]

    def commands(self):
        return [line for session in list(self.sessions) for line in list(session.commands)]

    def leaves(self, session):
        """The client of this session closes it, or did."""
        with self.lock:
            self.open -= not session.closing
            session.closing = True

    def take_fault(self, phase):
        with self.lock:
            fault = self.faults.get(phase)
            if isinstance(fault, list):
                return fault.pop(0) if fault else None
            return fault


class Connection:
    """One client of a provider, in a thread of its own."""

    def __init__(self, provider, sock, session):
        self.provider, self.sock, self.session = provider, sock, session
        self.input = bytearray()
        self.raw = sock  # the socket below TLS
        self.mail, self.rcpt = None, []
        self.data = bytearray()
        self.chunks = False

    def run(self):
        try:
            self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.act("connect")
            if self.provider.tls == "implicit":
                self.act("tls")
                self.secure()
            if not self.act("banner"):
                self.send(b"220 %s ESMTP\r\n" % self.provider.hello.encode())
            while True:
                self.command(self.line())
        except (Over, OSError, ValueError, struct.error):
            pass
        finally:
            self.provider.leaves(self.session)
            self.session.ended = True
            self.provider.sockets.discard(self.raw)
            self.sock.close()

    # ---- octets ----

    def send(self, octets):
        if self.provider.latency:
            self.provider.released.wait(self.provider.latency)
        self.sock.sendall(octets)

    def more(self):
        octets = self.sock.recv(262_144)
        if not octets:
            raise Over
        self.input += octets

    def line(self):
        while b"\r\n" not in self.input:
            self.more()
        line, _, rest = self.input.partition(b"\r\n")
        self.input = rest
        return line.decode("utf-8", "surrogateescape")

    def secure(self):
        def note(_sock, name, _context):
            self.session.server_name = name
        self.provider.context.sni_callback = note
        self.sock = self.provider.context.wrap_socket(self.sock, server_side=True)
        self.session.tls = True

    def act(self, phase):
        """Does the phase's fault; true: it stands in place of the reply."""
        fault = self.provider.take_fault(phase)
        if callable(fault):
            fault = fault(self)
        if fault is None:
            return False
        if fault == "stall":
            self.provider.released.wait()
            raise Over
        if fault == "reset":
            reset(self.raw)
            raise Over
        if fault == "close":
            raise Over
        if isinstance(fault, bytes) or fault in ("garbage", "oversize"):
            self.send({"garbage": GARBAGE, "oversize": OVERSIZE}.get(fault, fault))
            self.drain()
        self.send(fault.encode() + b"\r\n")
        if fault.startswith("421"):
            raise Over
        return True

    def drain(self):
        """Reads on until the other side is gone: a fault of ours must not be taken for a reset."""
        self.sock.settimeout(30)
        while self.sock.recv(262_144):
            pass
        raise Over

    # ---- commands ----

    def command(self, line):
        self.session.commands.append(line)
        self.session.pipelined += bool(self.input)
        verb, _, rest = line.partition(" ")
        getattr(self, "do_" + verb.lower(), self.unknown)(rest)

    def unknown(self, _rest):
        self.send(b"500 5.5.1 unknown command\r\n")

    def do_ehlo(self, _rest):
        if self.act("ehlo"):
            return
        words = list(self.provider.extensions)
        if self.provider.tls == "starttls" and not self.session.tls:
            words.append("STARTTLS")
        if self.provider.users is not None:
            words.append("AUTH " + self.provider.mechanisms)
        lines = [self.provider.hello, *words]
        self.send(b"".join(b"250%s%s\r\n" % (b"-" if i + 1 < len(lines) else b" ", word.encode())
                           for i, word in enumerate(lines)))

    def do_helo(self, _rest):
        if not self.act("ehlo"):
            self.send(b"250 %s\r\n" % self.provider.hello.encode())

    def do_starttls(self, _rest):
        if self.act("starttls"):
            return
        self.send(b"220 2.0.0 go on\r\n")
        self.act("tls")
        assert not self.input
        self.secure()

    def do_auth(self, rest):
        if self.act("auth"):
            return
        mechanism, _, initial = rest.partition(" ")
        self.session.mechanism = mechanism
        if mechanism in ("XOAUTH2", "OAUTHBEARER"):
            self.take_token(mechanism, base64.b64decode(initial or self.challenge("")))
            return
        if mechanism == "PLAIN":
            user, password = base64.b64decode(initial or self.challenge("")).split(b"\0")[1:]
        else:
            user = base64.b64decode(self.challenge("VXNlcm5hbWU6"))
            password = base64.b64decode(self.challenge("UGFzc3dvcmQ6"))
        if (self.provider.users or {}).get(user.decode()) == password.decode():
            self.session.user = user.decode()
            self.send(b"235 2.7.0 welcome\r\n")
        else:
            self.send(b"535 5.7.8 bad credentials\r\n")

    def take_token(self, mechanism, response):
        """`users` maps a name to the token that it may come with now, or to a set of them."""
        pattern = (rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01" if mechanism == "XOAUTH2" else
                   rb"n,a=([^\x01]*),\x01auth=Bearer ([^\x01]*)\x01\x01")
        user, token = (octets.decode() for octets in re.fullmatch(pattern, response).groups())
        self.session.token = token
        good = self.provider.users.get(user.replace("=2C", ",").replace("=3D", "="))
        if token in (good if isinstance(good, set) else {good}):
            self.session.user = user
            self.send(b"235 2.7.0 welcome\r\n")
            return
        dummy = self.challenge(base64.b64encode(b'{"status":"invalid_token"}').decode())
        assert dummy == {"XOAUTH2": "", "OAUTHBEARER": "AQ=="}[mechanism], dummy
        self.send(b"535 5.7.8 bad token\r\n")

    def challenge(self, text):
        self.send(f"334 {text}\r\n".encode())
        return self.line()

    def do_mail(self, rest):
        if self.act("mail"):
            return
        self.mail, self.rcpt, self.data, self.chunks = rest, [], bytearray(), False
        self.send(b"250 2.1.0 sender ok\r\n")

    def do_rcpt(self, rest):
        if self.act("rcpt"):
            return
        self.rcpt.append(rest)
        self.send(b"250 2.1.5 recipient ok\r\n")

    def do_rset(self, _rest):
        self.mail, self.rcpt = None, []
        self.send(b"250 2.0.0 flushed\r\n")

    def do_noop(self, _rest):
        if not self.act("noop"):
            self.send(b"250 2.0.0 ok\r\n")

    def do_quit(self, _rest):
        self.provider.leaves(self.session)
        if not self.act("quit"):
            self.send(b"221 2.0.0 bye\r\n")
        raise Over

    # ---- messages ----

    def do_data(self, _rest):
        if self.act("data"):
            return
        if not self.rcpt:
            self.send(b"503 5.5.1 RCPT first\r\n")
            return
        self.send(b"354 go ahead\r\n")
        self.provider.before_dot.set()
        octets = bytes(self.body())
        stripped = octets[1:] if octets.startswith(b".") else octets
        self.whole(stripped.replace(b"\r\n..", b"\r\n."), octets, chunked=False)

    def body(self):
        """Octets up to the final dot, with the fault of the body in their midst."""
        body, searched = bytearray(), 0
        self.session.body = body
        body += self.input
        self.input = bytearray()
        faulty = "body" in self.provider.faults
        while True:
            if body.startswith(b".\r\n"):
                self.input = body[3:]
                return b""
            at = body.find(b"\r\n.\r\n", max(0, searched - 4))
            if at >= 0:
                self.input = body[at + 5:]
                return body[:at + 2]
            searched = len(body)
            if faulty and searched > BODY_BEFORE_FAULT:
                self.fault_in_body()
            octets = self.sock.recv(262_144)
            if not octets:
                raise Over
            body += octets

    def fault_in_body(self):
        """What is said is said while the rest of the body cannot come: nothing is read any more."""
        fault = self.provider.take_fault("body")
        if fault in ("close", "reset", "stall"):
            self.provider.faults["body"] = fault
            self.act("body")
        self.send(GARBAGE if fault == "garbage" else fault.encode() + b"\r\n")
        self.wait_for_hang_up()

    def wait_for_hang_up(self):
        poll = select.poll()
        poll.register(self.raw, select.POLLRDHUP)
        while not poll.poll(100) and not self.provider.released.is_set():
            pass
        raise Over

    def do_bdat(self, rest):
        size, _, last = rest.partition(" ")
        left = int(size)
        if not self.chunks and self.act("data"):
            self.discard(left)
            return
        self.chunks = True
        self.provider.before_dot.set()
        faulty = "body" in self.provider.faults
        while True:
            if faulty and len(self.data) + len(self.input) > BODY_BEFORE_FAULT:
                self.fault_in_chunk()
                faulty = False
            if len(self.input) >= left:
                break
            self.more()
        self.data += self.input[:left]
        del self.input[:left]
        if not self.rcpt:
            self.send(b"503 5.5.1 no transaction\r\n")
        elif last:
            self.whole(bytes(self.data), bytes(self.data), chunked=True)
        else:
            self.send(b"250 2.0.0 chunk\r\n")

    def fault_in_chunk(self):
        """A reply comes before the whole chunk; the rest is consumed all the same (RFC 3030)."""
        fault = self.provider.faults["body"]
        if fault in ("close", "reset", "stall", "garbage"):
            self.fault_in_body()
        self.send(fault.encode() + b"\r\n")
        self.rcpt = []

    def discard(self, left):
        while len(self.input) < left:
            self.more()
        del self.input[:left]

    def whole(self, data, octets, chunked):
        """The message is here; what is said of it, and whether it counts as had."""
        message = Message(self.mail, self.rcpt, data, chunked, 0, self.session, octets,
                          time.monotonic())
        with self.provider.lock:
            late = self.provider.faults.get("after-dot")
            if late is not None or self.provider.faults.get("dot") is None:
                self.provider.messages.append(message)
        if late is not None:
            self.act("after-dot")
            return
        if self.act("dot"):
            return
        if self.provider.faults.get("dot") is not None:  # a list whose turn this was not
            self.provider.messages.append(message)
        self.provider.released.wait(self.provider.slow_dot)
        message.code = 250
        self.mail, self.rcpt, self.data = None, [], bytearray()
        self.send(b"250 2.0.0 taken as %d\r\n" % len(self.provider.messages))
