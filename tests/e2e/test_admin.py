"""The door for operators: over the Unix socket and TCP, by HTTP and by the verbs."""
import http.client
import json
import os
import re
import socket
import stat
import subprocess
import threading
import time

import pytest

from harness import APP, PROGRAM, make_config, wait_until
from wire import Wire, message

TOKEN = "correct-horse-battery-staple"
SECONDS = 30


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)  # waits for room in the queue: with a timeout it would not
        self.sock.settimeout(SECONDS)


class Door:
    """Asks a daemon's admin."""

    def __init__(self, mux, folder=None):
        self.mux = mux
        self.address = mux.wait("admin")["address"]

    def connection(self):
        if self.address.startswith("unix:"):
            return UnixConnection(self.address[5:])
        host, _, port = self.address.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=SECONDS)

    def ask(self, path, method="GET", body=None, **headers):
        """(status, headers, value): of JSON the value, else the text."""
        connection = self.connection()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        try:
            connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a refusal does not wait for the body
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        is_json = reply.headers.get("Content-Type", "").startswith("application/json")
        return reply.status, reply.headers, json.loads(text) if is_json else text

    def get(self, path, **headers):
        status, _, value = self.ask(path, **headers)
        assert status == 200, value
        return value

    def post(self, path, body=None, **headers):
        status, _, value = self.ask(path, "POST", {} if body is None else body, **headers)
        return status, value

    def upstream(self, name="p0"):
        return self.get(f"/api/upstreams/{name}")


def serve(stage, tmp_path, upstreams, **top):
    """A daemon with a door at a Unix socket."""
    listen = f"unix:{tmp_path}/admin.sock"
    return stage.mux(upstreams, admin={"listen": listen}, **top)


@pytest.fixture
def door(stage, tmp_path):
    return Door(serve(stage, tmp_path, [stage.provider(), stage.provider()]))


@pytest.fixture
def tcp(stage):
    mux = stage.mux([stage.provider()],
                    admin={"listen": "127.0.0.1:0", "token": TOKEN, "hosts": ["mux.example.com"]})
    return Door(mux)


def submit(mux, mark="one"):
    with Wire(mux.port()) as wire:
        return wire.greet().submit(message(mark=mark))


def verb(door, *words, config=True, **environment):
    """The finished verb."""
    where = ["-c", str(door.mux.path)] if config else ["--admin", door.address]
    return subprocess.run([PROGRAM, *words, *where], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, **environment})


# ---- what is told ----

def test_socket__has_mode_0660_and_goes_with_the_daemon(door):
    path = door.address[5:]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    door.mux.stop()
    assert not os.path.exists(path)


def test_health_and_readiness(door):
    assert door.get("/healthz") == "ok\n"
    assert door.get("/readyz") == "ready\n"
    for name in ("p0", "p1"):
        assert door.post(f"/api/upstreams/{name}/suspend", {"for": "1h"})[0] == 200
    status, _, text = door.ask("/readyz")
    assert status == 503 and "no upstream is usable" in text and "p1: suspended" in text
    assert door.get("/healthz") == "ok\n"
    assert door.post("/api/upstreams/p1/resume")[0] == 200
    assert door.get("/readyz") == "ready\n"


def test_status__tells_what_was_delivered(door):
    assert submit(door.mux).code == 250
    value = door.get("/api/status")
    assert value["messages"]["delivered"] == 1 and value["ready"] is True
    assert value["configuration"]["file"] == str(door.mux.path)
    assert value["configuration"]["on_disk"] == "same"
    assert value["listeners"][0]["accepted"] == 1 and value["listeners"][0]["connections"] == 1
    first = value["upstreams"][0]
    assert (first["name"], first["state"], first["breaker"]) == ("p0", "usable", "closed")
    assert first["counts"]["accepted"] == 1 and first["connections"]["idle"] == 1
    door.mux.path.write_text(door.mux.path.read_text() + "\n")
    assert door.get("/api/status")["configuration"]["on_disk"] == "changed"


def test_readyz__while_draining_it_is_not_ready(stage, tmp_path):
    provider = stage.provider(slow_dot=3.0)
    door = Door(serve(stage, tmp_path, [provider]))
    thread = threading.Thread(target=submit, args=(door.mux,))
    thread.start()
    wait_until(lambda: provider.messages)
    door.mux.signal()
    door.mux.wait("stopping")
    assert door.get("/healthz") == "ok\n"
    assert door.ask("/readyz")[0] == 503
    thread.join()
    assert door.mux.wait_end() == 0


# ---- what is done ----

def test_suspend__no_message_goes_there_until_it_is_resumed(door):
    status, value = door.post("/api/upstreams/p0/suspend", {"for": "15m"})
    assert status == 200 and value["state"] == "suspended"
    assert 890_000 < value["suspended_ms"] <= 900_000
    assert submit(door.mux).code == 250
    assert door.mux.summary()["upstream"] == "p1"
    assert door.post("/api/upstreams/p0/resume")[1]["state"] == "usable"
    assert submit(door.mux, "two").code == 250
    assert door.mux.wait("message", 2)[1]["upstream"] == "p0"


def test_explain__is_answered_from_what_runs(door):
    door.post("/api/upstreams/p0/suspend")
    status, value = door.post("/api/explain", {"user": APP, "from": "a@example.com",
                                               "to": ["b@example.org"]})
    assert status == 200, value
    usable = {one["name"]: one["usable"] for one in value["upstreams"]}
    assert usable == {"p0": False, "p1": True}
    assert door.post("/api/explain", {"user": "nobody"})[0] in (400, 404)


def test_explain__a_field_that_is_quoted_in_part_is_told(door):
    """The quotation ends within a character, and JSON knows whole ones only."""
    status, value = door.post("/api/explain", {"user": APP, "from": "a@example.com", "to": ["b@example.org"],
                                               "headers": ["x" + "\u00e9" * 60]})
    assert status == 400 and "is no field" in value["error"]


def test_test__tells_each_step_and_sends_nothing(stage, tmp_path):
    provider = stage.provider()
    door = Door(serve(stage, tmp_path, [provider]))
    status, value = door.post("/api/upstreams/p0/test")
    assert status == 200 and value["ok"] is True
    assert [step["phase"] for step in value["steps"]][:2] == ["connect", "banner"]
    assert value["tls"] is None and "PIPELINING" in value["extensions"]
    assert not provider.messages


@pytest.mark.parametrize("faults, phase", [({"banner": "stall"}, "banner"), ({"ehlo": "554 no"}, "ehlo")])
def test_test__tells_what_fails(stage, tmp_path, faults, phase):
    provider = stage.provider(faults)
    mux = serve(stage, tmp_path, [{"url": provider.url, "timeouts": {"command": "1s"}}])
    door = Door(mux)
    status, value = door.post("/api/upstreams/p0/test")
    assert status == 200 and value["ok"] is False
    assert value["failure"]["phase"] == phase


def test_test__of_one_that_stalls_keeps_nobody_waiting(stage, tmp_path):
    provider = stage.provider({"banner": "stall"})
    door = Door(serve(stage, tmp_path, [provider]))
    thread = threading.Thread(target=lambda: door.ask("/api/upstreams/p0/test", "POST", {}))
    thread.start()
    wait_until(lambda: provider.connections)
    begun = time.monotonic()
    assert door.get("/healthz") == "ok\n"
    assert time.monotonic() - begun < 3
    door.mux.stop()  # ends the test too
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_reload__takes_the_changed_file_and_refuses_a_broken_one(door):
    text = door.mux.path.read_text()
    config = json.loads(text)
    config["upstreams"]["p2"] = dict(config["upstreams"]["p0"])
    door.mux.path.write_text(json.dumps(config))
    status, value = door.post("/api/reload")
    assert (status, value["generation"]) == (200, 2)
    assert len(door.get("/api/upstreams")["upstreams"]) == 3
    door.mux.path.write_text(text.replace('"upstreams"', '"upstraems"', 1))
    status, value = door.post("/api/reload")
    assert status == 422 and value["problems"] and value["generation"] == 2
    assert len(door.get("/api/upstreams")["upstreams"]) == 3
    found = door.get("/api/status")["configuration"]
    assert (found["reloads"], found["reload_failures"], found["on_disk"]) == (1, 1, "changed")


def test_reload__moves_the_door_itself(door, tmp_path):
    config = json.loads(door.mux.path.read_text())
    config["admin"]["listen"] = f"unix:{tmp_path}/other.sock"
    door.mux.path.write_text(json.dumps(config))
    status, _ = door.post("/api/reload")
    assert status == 200
    door.mux.wait("admin", 2)
    assert not os.path.exists(f"{tmp_path}/admin.sock")
    door.address = f"unix:{tmp_path}/other.sock"
    assert door.get("/healthz") == "ok\n"


# ---- who is let in ----

def test_tcp__token_host_and_origin(tcp):
    right = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/healthz", "/readyz", "/metrics"):
        assert tcp.ask(path, Host="evil.example")[0] == 200
    assert tcp.ask("/api/status", **right)[0] == 200
    assert tcp.ask("/api/status", Host="mux.example.com:443", **right)[0] == 200
    status, headers, value = tcp.ask("/api/status")
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer") and value["error"]
    for wrong in ("Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer "):
        assert tcp.ask("/api/status", Authorization=wrong)[0] == 401
    assert tcp.ask("/api/status", Host="evil.example", **right)[0] == 403
    assert tcp.post("/api/upstreams/p0/suspend", Origin="http://evil.example", **right)[0] == 403
    assert tcp.post("/api/upstreams/p0/suspend", Content_Type="text/plain", **right)[0] == 415
    assert tcp.get("/api/upstreams/p0", **right)["state"] == "usable"
    assert not [line for line in tcp.mux.raw if TOKEN in line]


def test_tcp__without_a_token_the_file_is_wrong(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(make_config([{"url": "smtp://127.0.0.1:1"}],
                                           admin={"listen": "127.0.0.1:0"})))
    done = subprocess.run([PROGRAM, "serve", "-c", str(path)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 78 and "token" in done.stderr


def test_unix__posts_of_other_sites_are_refused(door):
    assert door.post("/api/upstreams/p0/suspend", Origin="http://evil.example")[0] == 403
    assert door.post("/api/upstreams/p0/suspend", Sec_Fetch_Site="cross-site")[0] == 403
    assert door.upstream()["state"] == "usable"


def test_errors(door):
    for path, method, wanted in (("/no", "GET", 404), ("/api/reload", "GET", 405),
                                 ("/metrics", "POST", 405), ("/api/upstreams/none", "GET", 404)):
        status, headers, value = door.ask(path, method, {} if method == "POST" else None)
        assert status == wanted and value["error"]
        assert (status == 405) == ("Allow" in headers)
    assert door.post("/api/upstreams/none/suspend")[0] == 404
    assert door.post("/api/upstreams/p0/suspend", {"for": "soon"})[0] == 400
    assert door.post("/api/upstreams/p0/suspend", b"{")[0] == 400


def test_body__a_huge_one_is_refused(door):
    connection = door.connection()
    connection.putrequest("POST", "/api/explain")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(64 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_slow_clients__keep_nobody_waiting(door):
    """More than it has connections for, each with half a request."""
    slow = []
    for _ in range(300):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(door.address[5:])
            one.send(b"GET /healthz HTTP/1.1\r\n")
        except BlockingIOError:
            pass  # the queue is full
        slow.append(one)
    begun = time.monotonic()
    assert door.get("/healthz") == "ok\n"
    assert time.monotonic() - begun < 15
    assert submit(door.mux).code == 250
    for one in slow:
        one.close()


# ---- verbs ----

def test_upstream_list__is_a_table_and_json(door):
    done = verb(door, "upstream", "list")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].startswith("NAME") and len(lines) == 3
    assert lines[1].split()[:3] == ["p0", "usable", "closed"]
    column = lines[0].index("STATE")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    names = [one["name"] for one in json.loads(verb(door, "upstream", "list", "--json").stdout)]
    assert names == ["p0", "p1"]


def test_upstream_suspend_and_resume(door):
    done = verb(door, "upstream", "suspend", "p0", "--for", "2h")
    assert done.returncode == 0 and "suspended" in done.stdout
    assert door.upstream()["suspended_ms"] > 7_000_000
    assert verb(door, "upstream", "resume", "p0").returncode == 0
    assert door.upstream()["state"] == "usable"
    wrong = verb(door, "upstream", "suspend", "px")
    assert wrong.returncode == 65 and "px" in wrong.stderr
    assert verb(door, "upstream", "suspend").returncode == 64
    assert verb(door, "upstream", "suspend", "p0", "--for", "x").returncode == 64


def test_upstream_test__exit_code_tells(stage, tmp_path):
    good, bad = stage.provider(), stage.provider({"ehlo": "554 5.7.1 go away"})
    door = Door(serve(stage, tmp_path, [good, bad]))
    done = verb(door, "upstream", "test", "p0")
    assert done.returncode == 0 and "p0: ok" in done.stdout
    done = verb(door, "upstream", "test", "p1")
    assert done.returncode == 69 and "FAILED" in done.stdout and "go away" in done.stdout


def test_reload_and_check_live(door):
    done = verb(door, "check", "--live")
    assert done.returncode == 0 and "generation 1" in done.stdout and "p1" in done.stdout
    door.mux.path.write_text(door.mux.path.read_text() + "\n")
    done = verb(door, "check", "--live")
    assert done.returncode == 65 and "NOT" in done.stdout
    done = verb(door, "reload")
    assert done.returncode == 0 and "generation 2" in done.stdout
    assert json.loads(verb(door, "check", "--live", "--json").stdout)["same"] is True
    text = door.mux.path.read_text()
    door.mux.path.write_text(text.replace('"users"', '"usres"'))
    done = verb(door, "reload", config=False)
    assert done.returncode == 78 and "usres" in done.stderr
    door.mux.path.write_text(text)


def test_verbs__need_only_the_door_of_the_file(door):
    """The daemon has its secrets; the shell has none of them."""
    path = door.mux.path
    path.write_text(json.dumps({**json.loads(path.read_text()), "temp_dir": "${SMX_TEST_UNSET}"}))
    assert verb(door, "check").returncode == 78
    assert verb(door, "upstream", "list").returncode == 0
    live = verb(door, "check", "--live")
    assert live.returncode == 65 and "NOT what" in live.stdout and live.stderr == ""
    told = verb(door, "explain", "--live", "--user", APP, "--from", "a@example.com", "--to",
                "b@example.org")
    assert told.returncode == 0 and "p0: usable" in told.stdout
    done = verb(door, "reload")  # the daemon's environment lacks it too, and it is the one to say so
    assert done.returncode == 78 and "`SMX_TEST_UNSET` is not set" in done.stderr


def test_full_quota__everybody_says_so(stage, tmp_path):
    provider = stage.provider()
    door = Door(serve(stage, tmp_path, [{"url": provider.url, "limits": ["1/day"]}]))
    assert submit(door.mux).code == 250
    listed = verb(door, "upstream", "list").stdout.splitlines()[1]
    assert re.match(r"p0 +quota full 2[34]h[0-9]{2}m ", listed)
    one = door.upstream()
    assert (one["usable"], one["state"], one["detail"]) == (False, "full", "1/day")
    assert 86_000_000 < one["wait_ms"] < 90_000_000
    assert 'smtpmux_upstream_usable{upstream="p0"} 0' in door.get("/metrics")
    status, _, text = door.ask("/readyz")
    assert status == 503 and "p0: full: 1/day" in text
    told = verb(door, "explain", "--live", "--user", APP, "--from", "a@example.com", "--to",
                "b@example.org").stdout
    assert "1/day" in told and "p0: skipped" in told


def test_verbs__without_a_daemon_they_say_so(door):
    door.mux.stop()
    done = verb(door, "upstream", "list")
    assert done.returncode == 69 and "is `smtpmux serve` running?" in done.stderr


def test_verbs__on_tcp_with_the_token_of_the_file_or_of_the_environment(tcp):
    done = verb(tcp, "upstream", "list", config=False)
    assert done.returncode == 77 and "token" in done.stderr
    done = verb(tcp, "upstream", "list", config=False, SMTPMUX_ADMIN_TOKEN=TOKEN)
    assert done.returncode == 0 and "p0" in done.stdout
