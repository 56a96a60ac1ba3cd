"""Configuration files as a person meets them: `check` on files, with certificates and secrets."""
import os
import re
import shutil

import pytest

import certificates
import harness_cli as cli

CONFIG = 78


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="c.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file


def check(path, **environment):
    return cli.run("check", "-c", path, env=environment)


def tls_file(cert, key):
    return (f"listeners:\n  - listen: '127.0.0.1:0'\n    tls: starttls\n"
            f"    certificates: [{{cert: {cert}, key: {key}}}]\n" + cli.UPSTREAMS + cli.USERS)


def test_config__every_mistake_is_told_at_once_with_its_line(write):
    path = write("wrkers: 1\nlisteners: [{listen: nowhere, allow_insecure_auth: true}]\n"
                 "upstreams: {one: {url: 'ftp://x'}}\n"
                 "users: [{email: u, password: p, upstreams: [onne]}]\n")
    done = check(path)
    assert done.returncode == CONFIG
    assert done.stdout == ""
    assert done.stderr == (
        f"{path}:1:1: unknown key `wrkers` in this file; did you mean `workers`?\n"
        "    wrkers: 1\n    ^\n"
        f'{path}:2:22: "nowhere": the port is missing, as in nowhere:587\n'
        "    listeners: [{listen: nowhere, allow_insecure_auth: true}]\n"
        "                         ^\n"
        f"{path}:3:24: expected a URL that begins with smtp://, smtp+tls://, smtp+notls://, "
        "smtps://, lmtp://, smtp+unix: or lmtp+unix:\n"
        "    upstreams: {one: {url: 'ftp://x'}}\n"
        "                           ^\n"
        f"{path}:4:45: no upstream is called `onne`; did you mean `one`?\n"
        "    users: [{email: u, password: ********, upstreams: [onne]}]\n"
        "                                                       ^\n")


def test_config__a_syntax_error_stands_alone(write):
    done = check(write("wrkers: 1\nusers: {\n"))
    assert done.returncode == CONFIG
    assert len(re.findall(r"^\S+:\d+:\d+: ", done.stderr, re.MULTILINE)) == 1


def test_config__a_certificate_and_its_key(write, tmp_path):
    cert, key = cli.certificate(tmp_path, "mux.example.com")
    done = check(write(tls_file(cert, key)))
    assert (done.returncode, done.stderr) == (0, "")


def test_config__certificates_alone_mean_starttls(write, tmp_path):
    text = tls_file(*cli.certificate(tmp_path, "mux.example.com"))
    done = cli.run("check", "--print", "-c", write(text.replace("    tls: starttls\n", "")))
    assert (done.returncode, done.stderr) == (0, "")
    assert "    tls: starttls\n    certificates:\n      - cert: " in done.stdout
    assert "    auth: required\n" in done.stdout


def test_config__a_key_that_does_not_match(write, tmp_path):
    cert, _ = cli.certificate(tmp_path, "mux.example.com")
    _, other = cli.certificate(tmp_path, "other.example.com")
    path = write(tls_file(cert, other))
    done = check(path)
    assert done.returncode == CONFIG
    assert f"{path}:4:5: " in done.stderr
    assert str(other) in done.stderr and "does not belong to" in done.stderr


def test_config__a_key_that_cannot_be_read(write, tmp_path):
    cert, _ = cli.certificate(tmp_path, "mux.example.com")
    done = check(write(tls_file(cert, tmp_path / "none.key")))
    assert done.returncode == CONFIG
    assert f"the file `{tmp_path}/none.key` cannot be read: No such file or directory" in done.stderr


def test_config__a_file_that_is_no_certificate(write, tmp_path):
    _, key = cli.certificate(tmp_path, "mux.example.com")
    done = check(write(tls_file(key, key)))
    assert done.returncode == CONFIG
    assert str(key) in done.stderr


def test_config__secrets_come_from_the_environment_and_are_never_shown(write):
    path = write(cli.small().replace("sesame", "'${SMX_TEST_PASSWORD}'"))
    done = check(path)
    assert done.returncode == CONFIG
    assert "the environment variable `SMX_TEST_PASSWORD` is not set" in done.stderr
    done = cli.run("check", "--print", "-c", path, env={"SMX_TEST_PASSWORD": "open: [sesame"})
    assert done.returncode == 0
    assert "sesame" not in done.stdout + done.stderr
    assert 'password: "********"' in done.stdout


def test_config__a_secret_file_that_cannot_be_read_is_named(write, tmp_path):
    path = write(cli.small().replace("password: sesame", f"password_file: {tmp_path}/none"))
    done = check(path)
    assert done.returncode == CONFIG
    assert f"the file `{tmp_path}/none` cannot be read: No such file or directory" in done.stderr


def test_config__what_is_printed_loads_and_prints_the_same(write):
    first = cli.run("check", "--print", "-c", write(cli.small()))
    again = cli.run("check", "--print", "-c", write(first.stdout, "printed.yaml"))
    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout == again.stdout
    assert "is what `check --print` shows instead of a secret" in again.stderr


EXAMPLE_SECRETS = {"SES_USER": "AKIAABCDEFGHIJKLMNOP", "SES_PASSWORD": "x", "VAULTWARDEN_PASSWORD": "x",
                   "GMAIL_APP_PASSWORD": "abcd efgh ijkl mnop", "NEWSLETTER_PASSWORD": "x"}


def test_config__the_example_is_right():
    done = check(cli.ROOT / "examples/config.yaml", **EXAMPLE_SECRETS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("ok: 1 listener, 2 upstreams, 2 users\n")


# What an example of the documentation leaves out.
REST = {
    "listeners": "listeners: [{listen: '127.0.0.1:0', allow_insecure_auth: true}]\n",
    "upstreams": "upstreams: {ses: {url: 'smtp://a.example'}, gmail: {url: 'smtp://b.example'}}\n",
    "users": "users: [{email: ann@example.com, password: sesame, upstreams: [ses]}]\n",
}
EXAMPLES = [(path.name, example) for path in (cli.ROOT / "README.md", *sorted(cli.ROOT.glob("docs/*.md")))
            for example in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.M | re.S)]


@pytest.mark.parametrize("name,example", EXAMPLES, ids=lambda value: value if value.endswith(".md") else "")
def test_config__examples_of_the_documentation_are_right(name, example, write, tmp_path):
    if example.startswith("title:"):
        mine = write(example, "mine.yaml")
        example = f"upstreams: {{ses: {{url: 'smtp://a.example', profile: '{mine}'}}}}\n"
    if "tls.crt" in example:
        made = certificates.make_certificates(tmp_path)
        for file, kind in (("tls.crt", made.good.cert), ("tls.key", made.good.key), ("ca.crt", made.ca)):
            shutil.copy(kind, tmp_path / file)
    (tmp_path / "sessions").mkdir()
    example = example.replace("/var/log/smtpmux", str(tmp_path))
    given = re.findall(r"^(\w+):", example, re.M)
    rest = "".join(text for key, text in REST.items() if key not in given)
    done = check(write(example + rest), **EXAMPLE_SECRETS)
    assert done.returncode == 0, f"{name}: {done.stderr}"


GO_FILE = """users:
  - email: "test@user.com"
    password: "password123"
    selector_algo_path: "{selector}"
    downstreams:
      - addr: "localhost:{port}"
        user: "any"
        pass: "any"
"""


def test_config__the_go_programs_file_loads_as_it_is(write):
    done = check(write(GO_FILE.format(selector="./plugins/roundrobin/roundrobin", port=1026)))
    assert done.returncode == 0
    assert done.stdout.endswith("ok: 1 listener, 1 upstream, 1 user\n")
    assert "0.0.0.0:1020 takes passwords on clear text" in done.stderr
    assert "`selector: round-robin` takes its place" in done.stderr


def test_config__the_go_programs_file_serves(write):
    path = write(cli.listeners() + GO_FILE.format(selector="./waterfall.star", port=1))
    with cli.serving(path) as daemon:
        client = cli.Client(daemon.port())
        client.reply()
        client.say("EHLO x.example")
        assert client.say("AUTH PLAIN AHRlc3RAdXNlci5jb20AcGFzc3dvcmQxMjM=")[0][:3] == "235"
        client.close()
        assert daemon.stop() == 0
        assert "takes its place" in daemon.log


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_config__a_file_without_permission(write):
    path = write(cli.small())
    path.chmod(0)
    done = check(path)
    assert done.returncode == 66
    assert "Permission denied" in done.stderr
