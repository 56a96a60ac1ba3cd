"""The command line: verbs, options, exit codes (sysexits.h), signals."""
import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

import harness_cli as cli

USAGE, DATAERR, NOINPUT, UNAVAILABLE, TEMPFAIL, CONFIG = 64, 65, 66, 69, 75, 78


def verbs():
    text = cli.run("--help").stdout
    return re.findall(r"^  (\S+)  ", text, re.MULTILINE)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(cli.small())
    return path


def test_cli__help_lists_the_verbs():
    done = cli.run("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert {"serve", "check", "passwd"} <= set(verbs())


def test_cli__every_verb_has_help_and_version():
    for verb in verbs():
        done = cli.run(verb, "--help")
        assert (done.returncode, done.stderr) == (0, ""), verb
        assert done.stdout.startswith(f"usage: smtpmux {verb}"), verb
        done = cli.run(verb, "--version")
        assert re.fullmatch(r"smtpmux \d+\.\d+\.\d+\n", done.stdout), verb


def test_cli__version():
    done = cli.run("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"smtpmux \d+\.\d+\.\d+\n", done.stdout)


def test_cli__without_a_verb_the_usage_is_an_error():
    done = cli.run()
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert done.stderr.startswith("usage: smtpmux VERB")


def test_cli__an_unknown_verb_is_answered_with_the_nearest():
    done = cli.run("chekc")
    assert done.returncode == USAGE
    assert "no verb is called `chekc`; did you mean `check`?" in done.stderr
    assert "did you mean" not in cli.run("zzzzz").stderr


@pytest.mark.parametrize("verb", ["send", "sendmail", "queue", "top", "lua", "dkim"])
def test_cli__a_verb_that_is_to_come_is_not_another_one(verb):
    done = cli.run(verb)
    assert done.returncode == 64
    assert f"`{verb}` is not in this version" in done.stderr and "did you mean" not in done.stderr


def test_cli__an_unknown_option_is_a_usage_error_on_every_verb():
    for verb in verbs():
        done = cli.run(verb, "--no-such-option")
        assert done.returncode == USAGE, verb
        assert "unknown option `--no-such-option`" in done.stderr, verb
        assert f"usage: smtpmux {verb}" in done.stderr, verb


@pytest.mark.parametrize("arguments", [["check", "-c"], ["check", "extra"], ["serve", "extra"],
                                       ["passwd", "sesame"], ["check", "--print", "--json"]])
def test_cli__wrong_arguments_are_usage_errors(arguments):
    done = cli.run(*arguments)
    assert done.returncode == USAGE
    assert "usage: smtpmux " + arguments[0] in done.stderr


def test_cli_check__a_right_file_is_summed_up(file):
    done = cli.run("check", "-c", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file}: ok: 1 listener, 1 upstream, 1 user\n"


def test_cli_check__the_file_of_the_folder_is_the_default(file):
    done = cli.run("check", cwd=file.parent)
    assert done.stdout == "config.yaml: ok: 1 listener, 1 upstream, 1 user\n"


def test_cli_check__a_file_that_is_not_there(tmp_path):
    done = cli.run("check", "-c", tmp_path / "none.yaml")
    assert done.returncode == NOINPUT
    assert done.stderr == f"smtpmux: {tmp_path}/none.yaml: cannot be read: No such file or directory\n"


def test_cli_check__no_file_at_all(tmp_path):
    if os.path.exists("/etc/smtpmux/config.yaml"):
        pytest.skip("this machine has a configuration")
    done = cli.run("check", cwd=tmp_path)
    assert done.returncode == NOINPUT
    assert "-c FILE" in done.stderr


def test_cli_check__json_has_summary_and_problems(file):
    told = json.loads(cli.run("check", "--json", "-c", file).stdout)
    assert told == {"file": str(file), "ok": True, "problems": [], "listeners": 1, "upstreams": 1,
                    "users": 1}
    file.write_text(cli.small(more="wrkers: 1\n"))
    done = cli.run("check", "--json", "-c", file)
    assert done.returncode == CONFIG
    assert json.loads(done.stdout) == {
        "file": str(file), "ok": False,
        "problems": [{"severity": "error", "file": str(file), "line": 1, "column": 1,
                      "message": "unknown key `wrkers` in this file; did you mean `workers`?"}]}


def test_cli_passwd__a_hash_that_a_user_can_have(tmp_path):
    first = cli.run("passwd", "--stdin", stdin="sesame\n")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("$y$")
    assert first.stdout != cli.run("passwd", "--stdin", stdin="sesame\n").stdout
    path = tmp_path / "c.yaml"
    path.write_text(cli.small().replace("sesame", first.stdout.strip()))
    assert cli.run("check", "-c", path).returncode == 0


def test_cli_passwd__scram_keys():
    done = cli.run("passwd", "--stdin", "--scram", stdin="sesame")
    assert done.returncode == 0
    assert re.fullmatch(r"SCRAM-SHA-256\$\d+:[^:$]+\$[^:]+:\S+\n", done.stdout)


@pytest.mark.parametrize("text", ["", "\n", "x" * 5000])
def test_cli_passwd__an_unfit_password_is_refused(text):
    done = cli.run("passwd", "--stdin", stdin=text)
    assert done.returncode == DATAERR
    assert done.stdout == ""


# ---- serve ----


def test_cli_serve__tells_where_it_listens_and_takes_its_users(file):
    with cli.serving(file) as daemon:
        client = cli.Client(daemon.port())
        assert client.reply()[0].startswith("220 ")
        assert any(line.startswith("250-AUTH ") for line in client.say("EHLO x.example"))
        assert client.say("AUTH PLAIN AHUAd3Jvbmc=")[0].startswith("535 ")
        assert client.say("AUTH PLAIN AHUAc2VzYW1l")[0].startswith("235 ")
        client.close()
        assert daemon.stop() == 0
        assert re.search(r"event=listening address=127\.0\.0\.1:\d+ tls=off$", daemon.log, re.M)
        assert re.search(r"event=stopping signal=SIGTERM drain_timeout=30s$", daemon.log, re.M)
        assert daemon.log.endswith("event=stopped\n")
        assert "sesame" not in daemon.log and "c2VzYW1l" not in daemon.log


def listening_ports(pid):
    """The ports of the sockets on which a process listens, as /proc has them."""
    links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    inodes = {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes]


def test_cli_serve__each_worker_accepts_on_the_one_port(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(cli.small(more="workers: 3\n"))
    with cli.serving(path) as daemon:
        port = daemon.port()
        assert listening_ports(daemon.process.pid) == [port] * 3
        clients = [cli.Client(daemon.port()) for _ in range(24)]
        assert all(client.reply()[0].startswith("220 ") for client in clients)
        assert len(re.findall("event=listening", daemon.log)) == 1
        for client in clients:
            client.close()
        assert daemon.stop() == 0


def test_cli_serve__a_unix_socket_comes_and_goes(tmp_path):
    path, place = tmp_path / "c.yaml", tmp_path / "s.sock"
    path.write_text(cli.small(more="workers: 3\n").replace("127.0.0.1:0", f"unix:{place}"))
    with cli.serving(path) as daemon:
        daemon.read_until("event=ready")
        # One socket, whatever the number of workers.
        assert len(re.findall(f"{place}$", Path("/proc/net/unix").read_text(), re.MULTILINE)) == 1
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(cli.SECONDS)
            client.connect(str(place))
            assert client.recv(100).startswith(b"220 ")
        assert daemon.stop() == 0
    assert not place.exists()


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_cli_serve__a_port_in_use_is_named_before_anything_serves(tmp_path, option):
    path = tmp_path / "c.yaml"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, option, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path.write_text(
            "listeners:\n  - {listen: '127.0.0.1:0', allow_insecure_auth: true}\n"
            f"  - {{listen: '127.0.0.1:{port}', allow_insecure_auth: true}}\n"
            + cli.UPSTREAMS + cli.USERS)
        done = cli.run("serve", "-c", path)
    assert done.returncode == UNAVAILABLE
    assert f"listeners[1]: cannot listen on 127.0.0.1 port {port}: another program" in done.stderr
    assert "choose another port" in done.stderr
    assert "event=listening" not in done.stderr


def test_cli_serve__mistakes_are_shown_and_nothing_starts(file):
    file.write_text(cli.small(more="wrkers: 1\n"))
    done = cli.run("serve", "-c", file)
    assert done.returncode == CONFIG
    assert f"{file}:1:1: unknown key `wrkers`" in done.stderr
    assert "event=" not in done.stderr


def test_cli_serve__sighup_takes_the_file_anew(file):
    with cli.serving(file) as daemon:
        daemon.port()
        file.write_text(cli.small(more="workers: 3\n"))
        daemon.signal(signal.SIGHUP)
        daemon.read_until(r"level=warn event=reload .*workers")
        daemon.read_until(r"event=reloaded generation=2 ")
        assert daemon.stop() == 0


def test_cli_serve__sigterm_tells_sessions_421(file):
    with cli.serving(file) as daemon:
        client = cli.Client(daemon.port())
        client.reply()
        client.say("EHLO x.example")
        daemon.signal(signal.SIGTERM)
        assert client.reply()[0].startswith("421 ")
        assert client.reply() == []
        client.close()
        assert daemon.wait() == 0


def test_cli_serve__sigint_stops_too(file):
    file.write_text(cli.small(more="workers: 1\n"))
    with cli.serving(file) as daemon:
        daemon.port()
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0
        assert "event=stopping signal=SIGINT" in daemon.log


@pytest.fixture
def silent():
    upstream = cli.Upstream()
    yield upstream
    upstream.close()


def begin_delivery(daemon, silent):
    """A client whose message was handed over whole and is not answered."""
    client = cli.Client(daemon.port())
    client.reply()
    for line in ["EHLO x.example", "AUTH PLAIN AHUAc2VzYW1l", "MAIL FROM:<a@example.com>",
                 "RCPT TO:<b@example.com>"]:
        assert client.say(line)[0][0] == "2", line
    assert client.say("DATA")[0].startswith("354")
    client.file.write(b"Subject: x\r\n\r\nhi\r\n.\r\n")
    client.file.flush()
    assert silent.got_dot.wait(cli.SECONDS)
    return client


def serving_silent(tmp_path, silent, drain):
    path = tmp_path / "c.yaml"
    path.write_text(cli.small(more=f"drain_timeout: {drain}\n").replace(
        "127.0.0.1:1", f"127.0.0.1:{silent.port}"))
    return cli.serving(path)


def test_cli_serve__a_final_reply_that_does_not_come_is_unknown(tmp_path, silent):
    with serving_silent(tmp_path, silent, "1s") as daemon:
        client = begin_delivery(daemon, silent)
        daemon.signal(signal.SIGTERM)
        assert client.reply()[0].startswith("451 4.4.2 ")
        client.close()
        assert daemon.wait() == 0
        assert re.search("event=message .*outcome=unknown", daemon.log)


def test_cli_serve__a_second_signal_ends_at_once(tmp_path, silent):
    with serving_silent(tmp_path, silent, "10m") as daemon:
        client = begin_delivery(daemon, silent)
        daemon.signal(signal.SIGTERM)
        daemon.read_until("event=stopping")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == TEMPFAIL
        assert "event=stopped signal=SIGTERM problem=" in daemon.log
        client.close()


def test_cli_serve__warnings_of_the_file_are_logged(tmp_path):
    path = tmp_path / "c.yaml"
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    secret.chmod(0o644)
    path.write_text(cli.small().replace("password: sesame", f"password_file: {secret}"))
    with cli.serving(path) as daemon:
        daemon.read_until(r"level=warn event=configuration problem=\".*:3:35: warning: everybody on")
        daemon.port()
        assert daemon.stop() == 0


def test_cli_serve__json_lines_are_json(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(cli.small(more="log: {format: json, level: debug}\n"))
    with cli.serving(path) as daemon:
        daemon.read_until('"event":"ready"')
        assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert [line["event"] for line in lines][-1] == "stopped"
    ready = next(line for line in lines if line["event"] == "ready")
    assert (ready["users"], ready["upstreams"], ready["listeners"]) == (1, 1, 1)
    assert all(list(line)[:3] == ["time", "level", "event"] for line in lines)
