"""What a listener of the mode proxy writes down: the audit file, transcripts, the log, counters; and how
it lives through reloads."""
import os
import re
import signal
import urllib.request

import pytest

from certificates import client_context, server_context
from harness import wait_until
from proxying import HOSTNAME, make_proxy, records
from test_reload import reload
from wire import Wire, message, send_one

TIME = re.compile(r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


# ---- the audit file ----

def test_proxy_audit__a_record_says_what_was_sent(stage, tmp_path):
    provider = stage.provider(users={"me@example.com": "sesame-open"})
    path = tmp_path / "audit.jsonl"
    mux = stage.serve(make_proxy(provider, audit=str(path), allow_insecure_auth=True))
    with Wire(mux.port()) as wire:
        wire.greet("a.client")
        assert wire.auth_plain("me@example.com", "sesame-open").code == 235
        assert wire.submit(message(mark="one"), recipients=("a@example.net", "b@example.net")).code == 250
    record, = records(path, 1)
    assert TIME.match(record["time"])
    assert record["listener"] == "127.0.0.1:0"
    assert record["client"] == "127.0.0.1"
    assert record["helo"] == "a.client"
    assert record["user"] == "me@example.com"
    assert record["from"] == "from@example.com"
    assert record["to"] == [{"address": "a@example.net", "code": 250},
                            {"address": "b@example.net", "code": 250}]
    assert record["size"] >= len(message(mark="one"))
    assert record["message_id"] == "<one@example.com>"
    assert (record["verdict"], record["hook"], record["phase"]) == ("continue", "", "")
    assert record["reply"]["code"] == 250
    assert record["own"] is False
    assert record["outcome"] == "relayed"
    assert 0 <= record["duration_ms"] < 20000
    assert record["client_tls"] is None and record["upstream_tls"] is None
    assert record["upstream"] == f"127.0.0.1:{provider.port}"
    summary = mux.summary(outcome="relayed")
    assert summary["id"] == record["id"]
    assert summary["nrcpt"] == "2"
    assert int(summary["session"]) == record["session"]


def test_proxy_audit__a_client_may_bear_the_proxy_s_own_name(stage, tmp_path):
    """As one on the same machine does: our greeting of the upstream, which looks for STARTTLS, is its own."""
    path = tmp_path / "audit.jsonl"
    url = f"smtp://127.0.0.1:{stage.provider().port}"
    mux = stage.serve(make_proxy(url, audit=str(path)))
    with Wire(mux.port()) as wire:
        wire.greet(HOSTNAME)
        assert wire.submit(message()).code == 250
    record, = records(path, 1)
    assert record["helo"] == HOSTNAME


def test_proxy_audit__each_transaction_has_a_line_of_its_own(stage, tmp_path):
    provider = stage.provider(faults={"rcpt": [None, "550 5.1.1 who", None, None],
                                      "dot": [None, "554 5.7.1 we do not"]})
    path = tmp_path / "audit.jsonl"
    mux = stage.serve(make_proxy(provider, audit=str(path)))
    with Wire(mux.port()) as wire:
        wire.greet()
        assert wire.submit(message()).code == 250
        assert wire.submit(message(), sender="two@example.com").code == 550
        assert wire.command("RSET").code == 250
        assert wire.submit(message(), sender="").code == 554
        assert wire.command("QUIT").code == 221
    first, second, third = records(path, 3)
    assert (first["from"], first["outcome"]) == ("from@example.com", "relayed")
    assert (second["from"], second["to"]) == ("two@example.com",
                                              [{"address": "to@example.net", "code": 550}])
    assert second["outcome"] == "refused"
    assert (third["from"], third["outcome"]) == ("", "refused")
    assert third["reply"] == {"code": 554, "enhanced": "5.7.1", "text": "5.7.1 we do not"}
    assert first["session"] == second["session"] == third["session"]
    assert len({first["id"], second["id"], third["id"]}) == 3


def test_proxy_audit__tls_of_both_sides_stands_in_it(stage, tmp_path, certificates):
    provider = stage.provider(tls="starttls", context=server_context(certificates.good),
                              name="localhost")
    path = tmp_path / "audit.jsonl"
    mux = stage.serve(make_proxy(
        {"url": provider.url, "ca": certificates.ca}, audit=str(path),
        certificates=[{"cert": certificates.good.cert, "key": certificates.good.key}]))
    with Wire(mux.port()) as wire:
        wire.greet().secure(client_context(certificates.ca)).ehlo()
        assert wire.submit(message()).code == 250
    record, = records(path, 1)
    assert record["client_tls"]["protocol"] == "TLSv1.3" and record["client_tls"]["cipher"]
    assert record["upstream_tls"]["protocol"] == "TLSv1.3" and record["upstream_tls"]["cipher"]
    assert record["upstream_tls"]["verified"] is True


def test_proxy_audit__a_session_without_a_message_has_a_line(stage, tmp_path):
    provider = stage.provider()
    path = tmp_path / "audit.jsonl"
    mux = stage.serve(make_proxy(provider, audit=str(path)))
    with Wire(mux.port()) as wire:
        assert wire.greet().command("QUIT").code == 221
    record, = records(path, 1)
    assert record["from"] is None and record["to"] == [] and record["reply"] is None


def test_proxy_audit__anonymize_hides_people(stage, tmp_path):
    provider = stage.provider()
    path = tmp_path / "audit.jsonl"
    config = make_proxy(provider, audit=str(path))
    config["log"] = {"anonymize": True}
    mux = stage.serve(config)
    assert send_one(mux.port()).code == 250
    record, = records(path, 1)
    assert re.fullmatch(r"[0-9a-f]{16}", record["from"])
    assert re.fullmatch(r"[0-9a-f]{16}", record["client"])
    assert re.fullmatch(r"[0-9a-f]{16}", record["to"][0]["address"])
    assert mux.summary()["from"] == record["from"]
    assert "to@example.net" not in path.read_text()


def test_proxy_audit__a_full_disk_is_told_once_and_blocks_no_mail(stage):
    provider = stage.provider()
    config = make_proxy(provider, audit="/dev/full")
    config["admin"] = {"listen": "127.0.0.1:0", "token": "a-token-of-some-length"}
    mux = stage.serve(config)
    for _ in range(3):
        assert send_one(mux.port()).code == 250
    address = mux.wait("admin")["address"]

    def lost():
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            return "smtpmux_records_lost_total 3" in answer.read().decode()
    wait_until(lost, 20, "three lost records")
    assert len(mux.find("record_lost")) == 1
    assert mux.find("record_lost")[0]["problem"] == "No space left on device"


def test_proxy_audit__a_file_that_cannot_be_made_stops_the_start(tmp_path, stage):
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(AssertionError, match="cannot be written to: Is a directory"):
        stage.serve(make_proxy(stage.provider(), audit=str(tmp_path / "audit.jsonl")))


# ---- transcripts ----

def transcripts(folder, count):
    wait_until(lambda: len(list(folder.iterdir())) >= count, 20, f"{count} transcripts")
    files = sorted(folder.iterdir())
    assert len(files) == count
    wait_until(lambda: all("=== closed" in one.read_text() for one in files), 20, "whole transcripts")
    return [one.read_text().splitlines() for one in files]


def test_proxy_audit__capture_keeps_sessions_of_listed_senders_from_their_beginning(stage, tmp_path):
    provider = stage.provider(users={"me": "sesame-open"})
    mux = stage.serve(make_proxy(provider, allow_insecure_auth=True, capture={
        "dir": str(tmp_path), "client": ["192.0.2.0/24"], "from": ["*@watched.example", "<>"]}))
    assert send_one(mux.port()).code == 250
    with Wire(mux.port()) as wire:
        wire.greet("watched.client")
        assert wire.auth_plain("me", "sesame-open").code == 235
        assert wire.submit(message(body=b"the secret body\r\n"), sender="a@watched.example").code == 250
        wire.command("QUIT")
    mux.wait("message", count=2)
    lines, = transcripts(tmp_path, 1)
    assert re.match(r"=== Session \d+ of 127\.0\.0\.1 on 127\.0\.0\.1:0, 20", lines[0])
    assert any(line.endswith("-> EHLO watched.client") for line in lines)
    assert " -> AUTH PLAIN ***" in lines
    assert " -> MAIL FROM:<a@watched.example>" in lines
    assert lines[-1] == "=== closed"
    assert "secret body" not in "\n".join(lines)


def test_proxy_audit__capture_by_client_and_of_all(stage, tmp_path):
    provider = stage.provider()
    folders = [tmp_path / name for name in ("here", "elsewhere", "all")]
    for folder in folders:
        folder.mkdir()
    listed = [{"client": "127.0.0.0/8"}, {"client": "192.0.2.1"}, {}]
    config = make_proxy(provider)
    config["listeners"] = [{**config["listeners"][0], "capture": {"dir": str(folder), **more}}
                           for folder, more in zip(folders, listed)]
    mux = stage.serve(config)
    for nth in range(3):
        assert send_one(mux.port(nth)).code == 250
    transcripts(folders[0], 1)
    transcripts(folders[2], 1)
    assert not list(folders[1].iterdir())


# ---- reloads ----

def test_proxy_reload__sessions_go_on_and_new_ones_have_the_new_upstream(stage, tmp_path):
    first, second = stage.provider(), stage.provider()
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    mux = stage.serve(make_proxy(first, audit=str(path)))
    with Wire(mux.port()) as wire:
        wire.greet()
        assert wire.submit(message()).code == 250
        records(path, 1)
        path.rename(old)
        reload(mux, make_proxy(second, audit=str(path)))
        assert send_one(mux.port()).code == 250
        assert wire.submit(message(), sender="again@example.com").code == 250
    assert [len(first.messages), len(second.messages)] == [2, 1]
    assert {record["from"] for record in records(path, 2)} == {"from@example.com", "again@example.com"}
    assert len(records(old, 1)) == 1


def test_proxy_reload__a_listener_changes_its_mode_and_keeps_its_socket(stage):
    provider = stage.provider()
    config = make_proxy(provider)
    mux = stage.serve(config)
    port = mux.port()
    config["listeners"][0]["listen"] = f"127.0.0.1:{port}"
    reload(mux, config)
    assert send_one(port).code == 250
    as_mux = {**config, "upstreams": {"p0": {"url": provider.url}},
              "users": [{"email": "app@example.com", "upstreams": ["p0"]}],
              "listeners": [{"listen": f"127.0.0.1:{port}", "trust": {"127.0.0.0/8": "app@example.com"}}]}
    reload(mux, as_mux)
    assert send_one(port).code == 250
    assert provider.messages[-1].data.startswith(b"Received:")
    reload(mux, config)
    assert send_one(port).code == 250
    assert provider.messages[-1].data == message()


def test_proxy_reload__again_and_again_leaves_no_descriptor(stage, tmp_path):
    provider = stage.provider()
    mux = stage.serve(make_proxy(provider, audit=str(tmp_path / "a")))

    def descriptors():
        return len(os.listdir(f"/proc/{mux.process.pid}/fd"))
    assert send_one(mux.port()).code == 250
    reload(mux)
    before = descriptors()
    for _ in range(12):
        reload(mux)
        assert send_one(mux.port()).code == 250
    wait_until(lambda: descriptors() <= before, 20, f"at most {before} descriptors")


def test_proxy_drain__an_idle_session_hears_421_and_a_message_is_finished(stage):
    provider = stage.provider()
    mux = stage.serve(make_proxy(provider))
    with Wire(mux.port()) as idle, Wire(mux.port()) as busy:
        idle.greet()
        busy.greet()
        assert busy.envelope() is None
        assert busy.command("DATA").code == 354
        mux.signal(signal.SIGTERM)
        assert idle.reply().code == 421
        busy.send(message() + b".\r\n")
        assert busy.reply().code == 250
        assert mux.wait_end() == 0


def test_proxy_counters__of_the_listener(stage):
    provider = stage.provider(faults={"dot": [None, "451 4.3.0 later", "554 5.7.1 no"]})
    config = make_proxy(provider)
    config["admin"] = {"listen": "127.0.0.1:0", "token": "a-token-of-some-length"}
    mux = stage.serve(config)
    assert [send_one(mux.port()).code for _ in range(3)] == [250, 451, 554]
    address = mux.wait("admin")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        text = answer.read().decode()
    for outcome in ("accepted", "deferred", "rejected"):
        assert re.search(rf'smtpmux_replies_total{{listener="127.0.0.1:0",outcome="{outcome}"}} 1', text)
    assert 'smtpmux_connections_total{listener="127.0.0.1:0"} 3' in text
    with urllib.request.urlopen(f"http://{address}/readyz") as answer:
        assert answer.status == 200
