"""`upstream test` against servers with certificates and passwords, right and wrong, and with OAuth2."""
import base64
import hashlib
import subprocess
import threading

import pytest

from certificates import server_context
from harness import wait_until
from test_admin import Door, serve, submit, verb
from token_endpoint import Endpoint

USER = "mailbox@provider.test"
SECRET, REFRESH = "the-client-secret", "the-refresh-token"


def try_out(stage, tmp_path, options, **top):
    """What the test of this upstream tells, and the door."""
    door = Door(serve(stage, tmp_path, [options], **top))
    status, value = door.post("/api/upstreams/p0/test")
    assert status == 200, value
    return value, door


def phases(value):
    return [step["phase"] for step in value["steps"]]


# ---- TLS ----

@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("kind, why", [("good", None), ("expired", "expired"), ("wrong_name", "mismatch"),
                                       ("self_signed", "self")])
def test_tls__only_a_good_certificate_is_ok(stage, certificates, tmp_path, tls, kind, why):
    provider = stage.provider(tls=tls, context=server_context(getattr(certificates, kind)), name="localhost")
    value, door = try_out(stage, tmp_path, {"url": provider.url, "ca": certificates.ca})
    if why is None:
        assert value["ok"] and value["tls"]["verified"] and value["tls"]["version"].startswith("TLSv1.")
        assert "tls" in phases(value) and "failure" not in value
        assert provider.sessions[0].tls and provider.sessions[0].verbs()[-1] == "QUIT"
    else:
        assert not value["ok"] and not (value["tls"] or {}).get("verified")
        assert value["failure"]["phase"] == "tls" and why in value["failure"]["detail"].lower(), value
        assert "AUTH" not in provider.sessions[0].verbs()
    assert not provider.messages
    done = verb(door, "upstream", "test", "p0")
    assert done.returncode == (69 if why else 0)
    assert ("certificate verified" if why is None else why) in " ".join(done.stdout.lower().split())


def test_tls__one_that_is_not_verified_is_told_so(stage, certificates, tmp_path):
    provider = stage.provider(tls="starttls", context=server_context(certificates.self_signed), name="localhost")
    value, _ = try_out(stage, tmp_path, {"url": provider.url, "tls_verify": False})
    assert value["ok"] and value["tls"]["verified"] is False and value["tls"]["unverified"]


def pin_of(pair):
    key = subprocess.run(["openssl", "pkey", "-in", pair.key, "-pubout", "-outform", "DER"], check=True,
                         capture_output=True).stdout
    return "sha256/" + base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.mark.parametrize("kind, ok", [("good", True), ("other", False)])
def test_tls__the_key_must_be_the_pinned_one(stage, certificates, tmp_path, kind, ok):
    provider = stage.provider(tls="implicit", context=server_context(certificates.good), name="localhost")
    value, _ = try_out(stage, tmp_path, {"url": provider.url, "ca": certificates.ca,
                                         "pin": [pin_of(getattr(certificates, kind))]})
    assert value["ok"] is ok
    if not ok:
        assert value["failure"]["phase"] == "tls" and "pin" in value["failure"]["detail"]


# ---- AUTH ----

@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("password, ok", [("right", True), ("wrong-one", False)])
def test_auth__right_and_wrong(stage, tmp_path, mechanisms, password, ok):
    provider = stage.provider(users={USER: "right"}, mechanisms=mechanisms)
    value, door = try_out(stage, tmp_path, {"url": provider.url, "user": USER, "pass": password})
    assert value["ok"] is ok
    if ok:
        assert value["mechanism"] == mechanisms and "auth" in phases(value)
    else:
        failure = value["failure"]
        assert (failure["phase"], failure["code"]) == ("auth", 535) and "bad credentials" in failure["reply"]
    assert door.upstream()["state"] == "usable"  # a test suspends nothing


# ---- OAuth2 ----

@pytest.fixture
def endpoint():
    made = []

    def make(*answers, **options):
        made.append(Endpoint(*answers, **options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def with_oauth2(provider, tokens):
    return {"url": provider.url, "user": USER,
            "oauth2": {"token_url": tokens.url, "client_id": "id", "client_secret": SECRET,
                       "refresh_token": REFRESH}}


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_oauth2__the_token_is_the_one_that_messages_go_with(stage, endpoint, tmp_path, mechanism):
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=f"PLAIN {mechanism}")
    value, door = try_out(stage, tmp_path, with_oauth2(provider, tokens))
    assert value["ok"] and value["mechanism"] == mechanism and phases(value)[:2] == ["auth", "connect"]
    assert submit(door.mux).code == 250
    assert door.post("/api/upstreams/p0/test")[1]["ok"]
    assert len(tokens.requests) == 1


def test_oauth2__one_that_is_not_good_any_more_is_replaced_once(stage, endpoint, tmp_path):
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-2"}, mechanisms="XOAUTH2")
    value, door = try_out(stage, tmp_path, with_oauth2(provider, tokens))
    assert value["ok"]
    provider.users[USER] = "another"
    value = door.post("/api/upstreams/p0/test")[1]
    assert not value["ok"] and (value["failure"]["phase"], value["failure"]["code"]) == ("auth", 535)
    assert [session.token for session in provider.sessions] == [
        "token-number-1", "token-number-2", "token-number-2", "token-number-3"]


@pytest.mark.parametrize("answer, why", [
    ((400, {"error": "invalid_grant"}), "the token endpoint answered 400: invalid_grant"),
    ((503, {}), "the token endpoint answered 503")])
def test_oauth2__a_token_that_is_refused_is_the_failure_of_auth(stage, endpoint, tmp_path, answer, why):
    tokens = endpoint(answer)
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms="XOAUTH2")
    value, door = try_out(stage, tmp_path, with_oauth2(provider, tokens))
    assert not value["ok"] and phases(value) == ["auth"]
    assert (value["failure"]["phase"], value["failure"]["detail"]) == ("auth", why)
    assert not provider.sessions
    done = verb(door, "upstream", "test", "p0")
    assert done.returncode == 69 and why in done.stdout
    assert not [line for line in door.mux.raw if SECRET in line or REFRESH in line]


def test_oauth2__an_endpoint_that_stalls_keeps_no_daemon_from_ending(stage, endpoint, tmp_path):
    tokens = endpoint("stall")
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms="XOAUTH2")
    door = Door(serve(stage, tmp_path, [with_oauth2(provider, tokens)]))

    def test():
        try:
            door.ask("/api/upstreams/p0/test", "POST", {})
        except OSError:
            pass  # the daemon ended meanwhile
    thread = threading.Thread(target=test)
    thread.start()
    wait_until(lambda: tokens.requests)
    door.mux.stop()
    thread.join(30)
    assert not thread.is_alive() and not provider.sessions
