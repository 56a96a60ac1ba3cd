"""Proxies for tests: a listener of a daemon, and a server behind it that keeps the octets it got."""
import socket
import threading

HOST = "127.0.0.1"


def proxy_listener(upstream, **options):
    """`upstream`: a URL, or a port of loopback."""
    if isinstance(upstream, int):
        upstream = f"smtp+notls://{HOST}:{upstream}"
    return {"listen": f"{HOST}:0", "mode": "proxy", "upstream": upstream, **options}


def proxy_config(*listeners, **top):
    return {"hostname": "proxy.test", "workers": 2, "listeners": list(listeners), **top}


class Sink:
    """Takes one session after the other and says yes to all. `octets`: of the last one, all that came;
    `body`: what came between 354 and the end that `is_end` sees, or in the chunks. `gate`: nothing of a
    body is read before it is set."""

    HELP = b"214 none\r\n"
    GREETING = b"250-sink.test\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 PIPELINING\r\n"

    def __init__(self, receive_buffer=None):
        self.gate = threading.Event()
        self.gate.set()
        self.started, self.ended = threading.Event(), threading.Event()
        self.body, self.commands, self.closed = b"", [], False
        self.listener = socket.socket()
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((HOST, 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.closed = True
        self.gate.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(20)

    def _serve(self):
        while not self.closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(60)
                self.ended.clear()
                try:
                    self._session(sock)
                except OSError:
                    pass
                self.ended.set()

    def _session(self, sock):
        file = sock.makefile("rb")
        self.commands, self.body = [], b""
        sock.sendall(b"220 sink.test\r\n")
        for line in file:
            self.commands.append(line)
            verb = line[:4].upper()
            if verb == b"EHLO":
                sock.sendall(self.GREETING)
            elif verb == b"HELP":
                sock.sendall(self.HELP)
            elif verb == b"DATA":
                sock.sendall(b"354 go\r\n")
                self._data(file)
                sock.sendall(b"250 taken\r\n")
            elif verb == b"BDAT":
                self.body += file.read(int(line.split()[1]))
                sock.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                sock.sendall(b"221 bye\r\n")
                return
            else:
                sock.sendall(b"250 ok\r\n")

    def _data(self, file):
        """As it comes, the dot included."""
        self.started.set()
        self.gate.wait(60)
        parts, tail = [], b"\r\n"
        while not tail.endswith(b"\r\n.\r\n"):
            part = file.readline(65536)
            if not part:
                break
            parts.append(part)
            tail = tail[-8:] + part
        self.body = b"".join(parts)
