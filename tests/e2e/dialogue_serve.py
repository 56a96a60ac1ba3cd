"""The scripted server of dialogue.py on a thread, kind to its clients: it offers what swaks knows and says
yes to it."""
import socket
import threading

from dialogue import Dialogue


class Friendly(Dialogue):
    OFFERS = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"PRDR", b"AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5", b"HELP")
    CHALLENGE = b"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+\r\n"

    def __init__(self, xclient=False):
        super().__init__()
        self.xclient = xclient

    def _greeting(self, line, seed, esmtp):
        self.hello, self.chunking, self.sender = True, esmtp, None
        offers = self.OFFERS + ((b"XCLIENT ADDR NAME",) if self.xclient else ()) if esmtp else ()
        lines = [b"friendly.test", *offers]
        said = b"".join(b"250-%s\r\n" % one for one in lines[:-1]) + b"250 %s\r\n" % lines[-1]
        return self._note(len(line), said)

    def _do_mail(self, line, seed):
        self.sender, self.prdr = 1, b"PRDR" in line.upper().split()
        return self._note(len(line), b"250 2.1.0 ok\r\n")

    def _do_rcpt(self, line, seed):
        self.recipients += 1
        return self._note(len(line), b"250 2.1.5 ok\r\n")

    def _final(self, seed, code=None):
        count, prdr = self.recipients, self.prdr and self.recipients > 1
        self._reset()
        return (b"353 of each\r\n" + b"250 2.1.5 for one\r\n" * count if prdr else b"") + b"250 2.0.0 taken\r\n"

    def _do_auth(self, line, seed):
        words = line.split()
        self.rounds = {b"LOGIN": 2, b"CRAM-MD5": 1}.get(words[1].upper(), 1) - (len(words) > 2)
        if self.rounds == 0:
            return self._note(len(line), b"235 2.7.0 welcome\r\n")
        self.state = self._dialogue
        return self._note(len(line), self.CHALLENGE if words[1] != b"LOGIN" else b"334 VXNlcm5hbWU6\r\n")

    def _dialogue(self):
        line = self._line()
        if line is None:
            return False
        self.rounds -= 1
        if self.rounds > 0:
            return self._note(len(line), b"334 UGFzc3dvcmQ6\r\n")
        self.state = self._command
        return self._note(len(line), b"235 2.7.0 welcome\r\n")

    def _do_xclient(self, line, seed):
        self._reset()
        return self._note(len(line), b"220 friendly.test\r\n")


class ScriptedServer:
    """One session at a time. `xclient`: it is offered."""

    def __init__(self):
        self.xclient, self.dialogue, self.over = False, None, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(20)

    def last(self):
        """What the last session's client said, once it is over."""
        assert self.over.wait(20)
        self.over.clear()
        return self.dialogue.took

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(60)
                self.dialogue = Friendly(self.xclient)
                try:
                    sock.sendall(b"220 friendly.test ESMTP\r\n")
                    while not self.dialogue.over:
                        octets = sock.recv(65536)
                        if not octets:
                            break
                        sock.sendall(self.dialogue.feed(octets))
                except OSError:
                    pass
            self.over.set()
