"""A token endpoint of OAuth2: gives tokens, or refuses, fails, stalls and lies as a test tells it; and a
server that alerts are posted to."""
import http.server
import json
import threading
import urllib.parse


class Endpoint:
    """`answers`: what is done to one request after the other, the last one for ever. A dict is the JSON of
    a 200 (`{}` gives the next token); a number a status without a body; a pair of both; "stall"; bytes."""

    def __init__(self, *answers, expires_in=3600, path="/token"):
        self.answers, self.expires_in = list(answers) or [{}], expires_in
        self.requests, self.tokens = [], []
        self.lock, self.released = threading.Lock(), threading.Event()
        self.overlapping = self.under_way = 0
        self.gate = None  # an event that answers wait for
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                endpoint.serve(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}{path}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def serve(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self.lock:
            self.requests.append((handler.path, dict(handler.headers), body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.under_way += 1
            self.overlapping = max(self.overlapping, self.under_way)
        if answer == "stall":
            self.released.wait()
        elif self.gate:
            self.gate.wait(60)
        with self.lock:
            self.under_way -= 1
            status, octets = self.make(answer)
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(octets)))
            handler.end_headers()
            handler.wfile.write(octets)
        except OSError:
            pass

    def make(self, answer):
        status, answer = answer if isinstance(answer, tuple) else (200, answer)
        if isinstance(answer, int):
            return answer, b""
        if isinstance(answer, bytes):
            return status, answer
        if answer == "stall":
            return 503, b""
        if status == 200 and "access_token" not in answer:
            token = f"token-number-{len(self.tokens) + 1}"
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in, **answer}
        if status == 200:
            self.tokens.append(answer["access_token"])
        return status, json.dumps(answer).encode()

    def forms(self):
        return [dict(urllib.parse.parse_qsl(body.decode())) for _, _, body in list(self.requests)]

    def posts(self):
        return [json.loads(body) for _, _, body in list(self.requests)]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
