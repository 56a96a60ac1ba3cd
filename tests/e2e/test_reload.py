"""SIGHUP: the next configuration for new sessions, the old one for those that are open; and again and
again under load."""
import copy
import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from certificates import client_context, server_context
from harness import APP, make_config, wait_until
from wire import Closed, Wire, message, send_one, stuffed

SECRET, OTHER = "first-secret", "second-secret"


def reload(mux, config=None, **top):
    """Writes the file, sends SIGHUP, and waits for the next generation."""
    config = {**(mux.config if config is None else config), **top}
    mux.path.write_text(json.dumps(config, indent=1))
    mux.config = config
    count = len(mux.find("reloaded"))
    mux.signal(signal.SIGHUP)
    wait_until(lambda: len(mux.find("reloaded")) > count or mux.process.poll() is not None, 20,
               "event=reloaded")
    return mux.find("reloaded")[-1]


def refuse(mux, text):
    """A file that is not taken: the problems that are told."""
    mux.path.write_text(text)
    before, done = len(mux.find("reload_failed")), len(mux.find("reloaded"))
    mux.signal(signal.SIGHUP)
    wait_until(lambda: len(mux.find("reload_failed")) > before, 20, "event=reload_failed")
    reload(mux)  # the problems of the one before stand in the log by now
    assert len(mux.find("reloaded")) == done + 1
    return [line["problem"] for line in mux.find("reload_failed")[before:]]


def with_users(password, upstreams, **more):
    return make_config(upstreams, users=[{"email": APP, "password": password,
                                          "upstreams": [f"p{i}" for i in range(len(upstreams))]}],
                       listeners=[{"auth": "required", "allow_insecure_auth": True, **more}])


def descriptors(mux):
    return len(os.listdir(f"/proc/{mux.process.pid}/fd"))


# ---- what changes, and for whom ----

def test_reload__a_password_changes_for_new_sessions(stage):
    provider = stage.provider()
    mux = stage.serve(with_users(SECRET, [provider]))
    with Wire(mux.port()) as old, Wire(mux.port()) as older:
        older.greet()
        assert older.auth_plain(APP, SECRET).code == 235
        old.greet()
        reload(mux, with_users(OTHER, [provider]))
        assert old.auth_plain(APP, SECRET).code == 235
        for wire in (old, older):
            assert wire.submit(message()).code == 250
        with Wire(mux.port()) as new:
            assert new.greet().auth_plain(APP, SECRET).code == 535
            assert new.auth_plain(APP, OTHER).code == 235
            assert new.submit(message()).code == 250


def test_reload__a_user_that_is_gone_finishes_its_session(stage):
    provider = stage.provider()
    config = with_users(SECRET, [provider])
    config["users"].append({"email": "leaver@example.com", "password": OTHER, "upstreams": ["p0"]})
    mux = stage.serve(config)
    with Wire(mux.port()) as old:
        assert old.greet().auth_plain("leaver@example.com", OTHER).code == 235
        line = reload(mux, with_users(SECRET, [provider]))
        assert (line["users"], line["users_added"], line["users_removed"]) == ("1", "0", "1")
        assert old.submit(message()).code == 250
        with Wire(mux.port()) as new:
            assert new.greet().auth_plain("leaver@example.com", OTHER).code == 535


def test_reload__a_message_under_way_keeps_its_upstream(stage):
    first, second = stage.provider(), stage.provider()
    mux = stage.mux([first])
    with Wire(mux.port()) as old:
        assert old.greet().envelope() is None
        assert old.command("DATA").code == 354
        reload(mux, make_config([second], listeners=[{"listen": f"127.0.0.1:{mux.port()}"}]))
        old.send(stuffed(message(mark="old")))
        assert old.reply().code == 250
    assert send_one(mux.port(), message(mark="new")).code == 250
    assert [b"<old@" in first.messages[0].data, len(first.messages)] == [True, 1]
    assert [b"<new@" in second.messages[0].data, len(second.messages)] == [True, 1]


@pytest.mark.parametrize("when", ["recipients", "header", "body"])
def test_reload__a_message_that_is_passed_on_while_it_arrives_finishes_on_the_old_one(stage, when):
    """Even its failover goes to the old configuration's upstreams."""
    first, second, other = stage.provider(), stage.provider(), stage.provider()
    user = {"email": APP, "upstreams": ["p0", "p1"], "delivery": "cut-through"}
    mux = stage.serve(make_config([first, second], users=[user], workers=1))
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert wire.command("RCPT TO:<a@example.net>").code == 250
        if when != "recipients":
            assert wire.command("DATA").code == 354
            wire.send(b"Subject: x" if when == "header" else b"Subject: x\r\n\r\none\r\n")
        if when == "body":
            wait_until(lambda: b"one\r\n" in (first.sessions[0].body or b""))
        reload(mux, make_config({"p9": other}, users=[{**user, "upstreams": ["p9"]}], workers=1))
        for sock in list(first.sockets):
            sock.shutdown(2)
        wait_until(lambda: second.connections == 1)
        if when == "recipients":
            assert wire.command("RCPT TO:<b@example.net>").code == 250
            assert wire.command("DATA").code == 354
        wire.send({"recipients": b"Subject: x\r\n\r\none\r\n", "header": b"\r\n\r\none\r\n", "body": b""}[when]
                  + b"two\r\n.\r\n")
        assert wire.reply().code == 250
    assert second.taken[0].original == b"Subject: x\r\n\r\none\r\ntwo\r\n"
    assert (len(first.messages), len(other.messages)) == (0, 0)
    assert send_one(mux.port()).code == 250
    assert len(other.taken) == 1


def test_reload__the_same_upstream_keeps_its_connections(stage):
    provider = stage.provider()
    mux = stage.mux([provider])
    assert send_one(mux.port()).code == 250
    for _ in range(5):
        reload(mux, upstreams={"p0": {"url": provider.url, "max_age": "4m"}})
    # Each worker has at most one connection.
    assert {send_one(mux.port()).code for _ in range(8)} == {250}
    assert provider.connections <= 2


def test_reload__another_secret_ends_a_suspension(stage):
    provider = stage.provider(users={"u": OTHER})
    upstream = {"url": provider.url.replace("smtp:", "smtp+notls:"), "user": "u", "pass": SECRET}
    mux = stage.mux([upstream])
    assert send_one(mux.port()).code == 451
    assert send_one(mux.port()).code == 451
    reload(mux, upstreams={"p0": {**upstream, "max_connections": 3}})
    assert send_one(mux.port()).code == 451  # suspended still
    reload(mux, upstreams={"p0": {**upstream, "pass": OTHER}})
    assert send_one(mux.port()).code == 250
    assert provider.connections == 2


def is_refused(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return False
    except ConnectionRefusedError:
        return True


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_reload__listeners_come_and_go(stage):
    provider = stage.provider()
    mux = stage.mux([provider], listeners=[{}, {}])
    trust = {"127.0.0.0/8": APP}
    kept, gone, added = f"127.0.0.1:{mux.port(0)}", mux.port(1), free_port()
    with Wire(gone) as old:
        old.greet()
        # The first was asked for as port 0, and is found by the port that it has.
        line = reload(mux, listeners=[{"listen": kept, "trust": trust},
                                      {"listen": f"127.0.0.1:{added}", "trust": trust}])
        assert line["listeners"] == "2"
        assert is_refused(gone)
        assert old.submit(message()).code == 250
    for port in (mux.port(0), added):
        assert {send_one(port).code for _ in range(6)} == {250}
    # The same ones for all addresses: the sockets are other ones.
    reload(mux, listeners=[{"listen": f"0.0.0.0:{added}", "trust": trust}])
    assert {send_one(added).code for _ in range(6)} == {250}
    assert is_refused(mux.port(0))


def test_reload__a_unix_socket_stays_until_it_is_taken_away(stage, tmp_path):
    path = tmp_path / "mux.sock"
    trust = {"127.0.0.0/8": APP}
    unix = {"listen": f"unix:{path}", "auth": "required", "allow_insecure_auth": True}
    config = make_config([stage.provider()], users=[
        {"email": APP, "password": SECRET, "upstreams": ["p0"]}], listeners=[{"trust": trust}, unix])
    mux = stage.serve(config)
    for _ in range(3):
        inode = path.stat().st_ino
        reload(mux)
        assert path.stat().st_ino == inode
        with Wire(0, path=str(path)) as wire:
            assert wire.greet().auth_plain(APP, SECRET).code == 235
            assert wire.submit(message()).code == 250
    reload(mux, listeners=[{"listen": config["listeners"][0]["listen"], "trust": trust}])
    wait_until(lambda: not path.exists(), 5, "the end of the socket's file")
    reload(mux, config)
    with Wire(0, path=str(path)) as wire:
        wire.greet()


def test_reload__another_certificate(stage, certificates):
    def listener(pair):
        return [{"tls": "implicit", "trust": {"127.0.0.0/8": APP},
                 "certificates": [{"cert": pair.cert, "key": pair.key}]}]
    mux = stage.mux([stage.provider()], listeners=listener(certificates.good))
    context = client_context(certificates.ca)
    context.check_hostname = False

    def subject(wire):
        return dict(part[0] for part in wire.sock.getpeercert()["subject"])["commonName"]
    with Wire(mux.port()) as old:
        old.secure(context, starttls=False).greet()
        new = listener(certificates.wrong_name)
        new[0]["listen"] = "127.0.0.1:0"
        reload(mux, listeners=new)
        for _ in range(6):
            with Wire(mux.port()) as wire:
                assert subject(wire.secure(context, starttls=False).greet()) == "elsewhere.test"
        assert subject(old) == "good"
        assert old.submit(message()).code == 250


def test_reload__the_systems_cas_are_read_again_if_they_changed(stage, certificates, tmp_path, monkeypatch):
    system = tmp_path / "system.pem"
    system.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    provider = stage.provider(tls="implicit", context=server_context(certificates.good))
    mux = stage.mux([provider], workers=1)
    assert send_one(mux.port()).code == 451
    system.write_bytes(Path(certificates.ca).read_bytes())
    reload(mux)
    assert send_one(mux.port()).code == 250
    sessions = len(provider.sessions)
    reload(mux)  # they are the same: the connection stays
    assert send_one(mux.port()).code == 250
    assert len(provider.sessions) == sessions


def test_reload__the_log_follows(stage):
    mux = stage.mux([stage.provider()])
    reload(mux, log={"format": "json", "anonymize": True})
    assert send_one(mux.port()).code == 250
    assert mux.summary()["client"] != "127.0.0.1"
    assert [line for line in mux.raw if '"event":"message"' in line]
    mux.path.write_text(json.dumps({**mux.config, "log": {"level": "warn"}, "workers": 5}))
    mux.signal(signal.SIGHUP)
    mux.wait("reload")  # the warning; what is new is not told any more
    assert send_one(mux.port()).code == 250
    assert len(mux.find("reloaded")) == 1
    assert len(mux.find("message")) == 1


# ---- what is not taken ----

def test_reload__workers_and_store_need_a_restart(stage):
    mux = stage.mux([stage.provider()])
    reload(mux, workers=5, store="memory:")
    told = [line["problem"] for line in mux.find("reload")]
    assert len([text for text in told if text.startswith("workers: 5 takes effect after")]) == 1
    assert send_one(mux.port()).code == 250


def test_reload__a_broken_file_changes_nothing(stage, certificates, tmp_path):
    mux = stage.mux([stage.provider()])
    with Wire(mux.port()) as old:
        old.greet()
        told = refuse(mux, "hostname: mux.test\nworkes: 2\nlisteners: [{listen: 127.0.0.1:0}]\n"
                           "upstreams: {p0: {url: 'what://is.this'}}\n")
        assert len(told) >= 2
        assert any("config.yaml:2:1: " in text and "workers" in text for text in told)
        told = refuse(mux, "listeners: [\n")
        assert any("config.yaml:" in text for text in told)
        mux.path.unlink()
        mux.signal(signal.SIGHUP)
        wait_until(lambda: any("config.yaml" in line["problem"] and "No such file" in line["problem"]
                               for line in mux.find("reload_failed")), 10, "the missing file's problem")
        assert old.submit(message()).code == 250
    assert send_one(mux.port()).code == 250


def test_reload__what_cannot_be_opened_changes_nothing(stage, certificates, tmp_path):
    """All workers forget what they had prepared."""
    mux = stage.mux([stage.provider()])
    good = copy.deepcopy(mux.config)
    assert {send_one(mux.port()).code for _ in range(8)} == {250}
    count = descriptors(mux)
    (tmp_path / "bad.pem").write_text("no certificate")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for listener, words in (
                ({"listen": f"127.0.0.1:{taken.getsockname()[1]}"}, "another program listens there"),
                ({"listen": "127.0.0.1:0", "tls": "implicit", "certificates": [
                    {"cert": str(tmp_path / "bad.pem"), "key": certificates.good.key}]}, "bad.pem"),
                ({"listen": "192.0.2.77:2525"}, "does not have the address")):
            bad = {**good, "listeners": [*good["listeners"],
                                         {"trust": {"127.0.0.0/8": APP}, **listener}]}
            told = refuse(mux, json.dumps(bad))
            assert len(told) == 1 and words in told[0], told
            assert send_one(mux.port()).code == 250
    # Connections of the pools, and of a client that has just gone, may differ.
    wait_until(lambda: descriptors(mux) <= count + 2, 10, "descriptors of what was forgotten")


# ---- the end ----

def test_reload__sigterm_finishes_all_generations(stage):
    provider = stage.provider(slow_dot=1.5)
    mux = stage.mux([provider])
    clients = []
    for i in range(4):
        wire = Wire(mux.port()).greet()
        assert wire.envelope() is None
        assert wire.command("DATA").code == 354
        clients.append(wire)
        reload(mux)
    idle = Wire(mux.port()).greet()
    reload(mux)
    for i, wire in enumerate(clients):
        wire.send(stuffed(message(mark=f"flight-{i}")))
    wait_until(lambda: len(provider.messages) == 4)
    mux.signal(signal.SIGTERM)
    assert [wire.reply().code for wire in clients] == [250] * 4
    assert [reply.code for reply in idle.rest()] == [421]
    assert mux.wait_end() == 0
    for wire in (idle, *clients):
        wire.close()


def test_reload__sessions_of_very_old_generations_are_sent_away_between_messages(stage):
    """Eight old generations are left in peace."""
    provider = stage.provider()
    mux = stage.mux([provider], workers=1)
    begun = Wire(mux.port()).greet()
    assert begun.envelope() is None
    idle = []
    for _ in range(9):
        reload(mux)
        idle.append(Wire(mux.port()).greet())
    reload(mux)  # old ones: the one of `begun`, and nine
    assert [reply.code for reply in idle[0].rest()] == [421]
    assert idle[1].command("NOOP").code == 250
    assert begun.command("DATA").code == 354
    begun.send(stuffed(message()))
    assert begun.reply().code == 250
    assert begun.envelope().code == 421
    assert begun.is_closed()
    for wire in (begun, *idle):
        wire.close()


# ---- under load ----

class Load:
    """Clients that send one message after the other and write down what they were told."""

    def __init__(self, ports, certificates):
        self.clear, self.secured = ports
        self.context = client_context(certificates.ca)
        self.lock = threading.Lock()
        self.taken, self.failures, self.dismissed = [], [], 0
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(kind, i)) for i, kind in enumerate(
            ["kept"] * 3 + ["kept-tls"] * 2 + ["fresh"] * 2 + ["fresh-tls"] * 2)]
        for thread in self.threads:
            thread.start()

    def connect(self, tls):
        wire = Wire(self.secured if tls else self.clear, seconds=30).greet()
        if tls:
            wire.secure(self.context).ehlo()
        reply = wire.auth_plain(APP, SECRET)
        assert reply.code == 235, reply
        return wire

    def send(self, wire, mark):
        """False: told between two messages to connect again."""
        reply = wire.submit(message(mark=mark))
        if reply.code == 421 and reply.enhanced == "4.3.2":
            assert wire.is_closed()
            with self.lock:
                self.dismissed += 1
            return False
        assert reply.code == 250, reply
        with self.lock:
            self.taken.append(mark)
        return True

    def run(self, kind, number):
        wire, count = None, 0
        while not self.ending.is_set():
            try:
                wire = wire or self.connect(kind.endswith("tls"))
                count += 1
                stays = self.send(wire, f"{kind}-{number}-{count}")
                if not stays or kind.startswith("fresh"):
                    wire.close()
                    wire = None
            except (AssertionError, Closed, OSError) as problem:
                with self.lock:
                    self.failures.append(f"{kind}: {type(problem).__name__} {problem}")
                wire = None
        if wire:
            wire.close()

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def load_config(port, secured, upstream, pair, turn):
    """Each is a little different from the one before."""
    config = with_users(SECRET, [upstream], listen=f"127.0.0.1:{port}", max_size=1000000 + turn)
    config["listeners"].append({
        "listen": f"127.0.0.1:{secured}", "tls": "required", "auth": "required",
        "certificates": [{"cert": pair.cert, "key": pair.key}]})
    config["users"].append({"email": f"u{turn}@example.com", "password": OTHER, "upstreams": ["p0"]})
    config["upstreams"]["p0"]["idle"] = "1s"
    # Now and then the way to the provider is another one, and its pools with it.
    config["upstreams"]["p0"]["source"] = "127.0.0.1" if turn // 25 % 2 else "127.0.0.2"
    return config


@pytest.mark.parametrize("times", [200])
def test_reload__200_times_under_load(stage, certificates, monkeypatch, times):
    # The sanitizer keeps what was freed; here its memory is looked at.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "detect_leaks=1")
                       + ":quarantine_size_mb=2")
    provider = stage.provider()
    ports = free_port(), free_port()

    def make(turn):
        return load_config(*ports, provider, certificates.good, turn)
    mux = stage.serve(make(0))
    sizes, counts = [], []
    load = Load(ports, certificates)
    try:
        for turn in range(1, times + 1):
            reload(mux, make(turn))
            if turn % 20 == 0:
                sizes.append(mux.memory_kib())
                counts.append(descriptors(mux))
    finally:
        load.end()
    assert not load.failures, load.failures[:10]
    assert len(load.taken) > times
    marks = sorted(one.data.split(b"Message-ID: <")[1].split(b"@")[0].decode()
                   for one in provider.messages)
    assert marks == sorted(load.taken)
    assert mux.find("reloaded")[-1]["generation"] == str(times + 1)
    # Nine sessions, and connections of the pools to the provider.
    assert max(counts) < 120, counts
    assert max(counts[-3:]) <= max(counts[:3]) + 20, counts
    assert min(sizes[-3:]) < max(sizes[:4]) * 1.15 + 4096, sizes
    wait_until(lambda: descriptors(mux) < 40, 20, "the end of idle connections")
