"""A client that sends exactly the octets it is told, and reads one reply after the other."""
import base64
import hashlib
import hmac
import os
import re
import socket
import ssl
import struct

LINE = re.compile(rb"^(\d{3})([ -])(.*)$", re.DOTALL)


class Reply:
    def __init__(self, code, lines):
        self.code, self.lines = code, lines

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def enhanced(self):
        match = re.match(r"(\d\.\d{1,3}\.\d{1,3})(?: |$)", self.lines[0])
        return match.group(1) if match else ""

    def __str__(self):
        return f"{self.code} {' / '.join(self.lines)}"

    __repr__ = __str__


class Closed(Exception):
    """The daemon closed the connection."""


class Wire:
    """One connection. `begin` also greets."""

    def __init__(self, port, host="127.0.0.1", seconds=60, source=None, path=None):
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection((host, port), timeout=seconds,
                                                 source_address=source and (source, 0))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(seconds)
        self.input = b""
        self.offers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Goes away as a client does whose machine lost its power."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, octets):
        self.sock.sendall(octets.encode() if isinstance(octets, str) else octets)

    def line(self):
        while b"\r\n" not in self.input:
            try:
                octets = self.sock.recv(65536)
            except ConnectionResetError:
                octets = b""
            if not octets:
                raise Closed(self.input)
            self.input += octets
        line, _, self.input = self.input.partition(b"\r\n")
        return line

    def reply(self):
        lines, codes = [], set()
        while True:
            match = LINE.match(self.line())
            assert match, "no line of a reply"
            codes.add(match.group(1))
            lines.append(match.group(3).decode("utf-8", "backslashreplace"))
            if match.group(2) == b" ":
                assert len(codes) == 1, codes
                return Reply(int(codes.pop()), lines)

    def command(self, line):
        self.send(line + "\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def greet(self, name="client.test"):
        reply = self.reply()
        assert reply.code == 220, reply
        return self.ehlo(name)

    def ehlo(self, name="client.test"):
        reply = self.command(f"EHLO {name}")
        assert reply.code == 250, reply
        self.offers = {line.split(" ")[0].upper(): line.split(" ")[1:] for line in reply.lines[1:]}
        return self

    def secure(self, context, name="localhost", starttls=True):
        if starttls:
            reply = self.command("STARTTLS")
            assert reply.code == 220, reply
        self.sock = context.wrap_socket(self.sock, server_hostname=name)
        return self

    def is_closed(self):
        """Waits for the end of the connection; what came before it is dropped."""
        try:
            while True:
                self.line()
        except (Closed, OSError):
            return True

    def rest(self):
        """The replies that come until the connection ends."""
        replies = []
        try:
            while True:
                replies.append(self.reply())
        except (Closed, OSError):
            return replies

    # ---- AUTH ----

    def auth_plain(self, user, password):
        token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.command(f"AUTH PLAIN {token}")

    def auth_scram(self, user, password):
        """SCRAM-SHA-256 (RFC 5802, RFC 7677); the server's signature is proved too."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n={user},r={nonce}"
        reply = self.command("AUTH SCRAM-SHA-256 " + b64("n,," + bare))
        if reply.code != 334:
            return reply
        first = base64.b64decode(reply.lines[0]).decode()
        fields = dict(part.split("=", 1) for part in first.split(","))
        assert fields["r"].startswith(nonce) and int(fields["i"]) >= 4096
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]),
                                     int(fields["i"]))
        final = f"c=biws,r={fields['r']}"
        told = f"{bare},{first},{final}".encode()
        key = mac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), told)))
        reply = self.command(b64(f"{final},p={base64.b64encode(proof).decode()}"))
        if reply.code != 334:
            return reply
        signature = base64.b64encode(mac(mac(salted, b"Server Key"), told)).decode()
        assert base64.b64decode(reply.lines[0]).decode() == f"v={signature}"
        return self.command("")

    # ---- messages ----

    def envelope(self, sender="from@example.com", recipients=("to@example.net",), parameters=""):
        reply = self.command(f"MAIL FROM:<{sender}>{parameters}")
        if reply.code != 250:
            return reply
        for recipient in recipients:
            reply = self.command(f"RCPT TO:<{recipient}>")
            if reply.code != 250:
                return reply
        return None

    def submit(self, data, sender="from@example.com", recipients=("to@example.net",), parameters="",
               chunk=None):
        """One message; the reply that decided. `chunk`: by BDAT, in chunks of so many octets."""
        refused = self.envelope(sender, recipients, parameters)
        if refused:
            return refused
        return self.chunks(data, chunk) if chunk else self.data(data)

    def data(self, data):
        """The message alone, behind its envelope."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send(stuffed(data))
        return self.reply()

    def chunks(self, data, chunk):
        for at in range(0, max(len(data), 1), chunk):
            part = data[at:at + chunk]
            last = " LAST" if at + chunk >= len(data) else ""
            self.send(b"BDAT %d%s\r\n" % (len(part), last.encode()) + part)
            reply = self.reply()
            if reply.code != 250:
                return reply
        return reply


def b64(text):
    return base64.b64encode(text.encode()).decode()


def mac(key, octets):
    return hmac.new(key, octets, "sha256").digest()


def stuffed(data):
    """As DATA sends it, with the final dot."""
    out = data.replace(b"\r\n.", b"\r\n..")
    if out.startswith(b"."):
        out = b"." + out
    return out + (b".\r\n" if out.endswith(b"\r\n") or not out else b"\r\n.\r\n")


def message(body=b"hello\r\n", mark="", sender="from@example.com", extra=""):
    """A message of usual form; `mark` becomes its Message-ID."""
    header = (f"From: Someone <{sender}>\r\nTo: <to@example.net>\r\nSubject: a test\r\n"
              f"Message-ID: <{mark or 'mark'}@example.com>\r\nDate: Mon, 03 Nov 2025 10:00:00 +0000\r\n"
              f"{extra}\r\n")
    return header.encode() + (body.encode() if isinstance(body, str) else body)


def send_one(port, data=None, **options):
    """Connects, sends one message, says QUIT; the reply to the message."""
    with Wire(port) as wire:
        reply = wire.greet().submit(message() if data is None else data, **options)
        assert wire.command("QUIT").code == 221
        return reply
