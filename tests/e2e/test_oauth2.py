"""OAuth2 towards providers: tokens are had, kept, renewed, and what happens when they are not."""
import threading

import pytest

from harness import APP, wait_until
from token_endpoint import Endpoint
from wire import Wire, send_one

USER = "mailbox@provider.test"
SECRET, REFRESH = "the-client-secret", "the-refresh-token"
MECHANISMS = "PLAIN LOGIN XOAUTH2"


@pytest.fixture
def endpoint():
    made = []

    def make(*answers, **options):
        made.append(Endpoint(*answers, **options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def upstream(provider, endpoint, **more):
    options = {"url": provider.url, "user": USER, "oauth2": {
        "token_url": endpoint.url, "client_id": "an id & more", "client_secret": SECRET,
        "refresh_token": REFRESH, **more.pop("oauth2", {})}, **more}
    options["oauth2"] = {key: value for key, value in options["oauth2"].items() if value}
    return options


def no_secrets(mux, *more):
    for secret in (SECRET, REFRESH, *more):
        assert not [line for line in mux.raw if secret in line]


@pytest.mark.parametrize("mechanisms, wanted, chosen", [
    ("PLAIN LOGIN XOAUTH2", None, "XOAUTH2"),
    ("XOAUTH2 OAUTHBEARER", None, "OAUTHBEARER"),
    ("XOAUTH2 OAUTHBEARER", "xoauth2", "XOAUTH2"),
    ("XOAUTH2 OAUTHBEARER", "oauthbearer", "OAUTHBEARER"),
])
def test_oauth2__a_token_is_had_once_and_used(stage, endpoint, mechanisms, wanted, chosen):
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=mechanisms)
    options = upstream(provider, tokens, max_messages_per_connection=1, oauth2={"scope": "https://mail/ x"})
    mux = stage.mux([options | ({"auth": wanted} if wanted else {})])
    for _ in range(3):
        assert send_one(mux.port()).code == 250
    assert [session.mechanism for session in provider.sessions] == [chosen] * 3
    assert tokens.forms() == [{"grant_type": "refresh_token", "refresh_token": REFRESH,
                               "client_id": "an id & more", "client_secret": SECRET,
                               "scope": "https://mail/ x"}]
    assert tokens.requests[0][1]["Content-Type"] == "application/x-www-form-urlencoded"
    no_secrets(mux, "token-number-1")


def test_oauth2__client_credentials(stage, endpoint):
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, oauth2={"refresh_token": None})])
    assert send_one(mux.port()).code == 250
    assert tokens.forms() == [{"grant_type": "client_credentials", "client_id": "an id & more",
                               "client_secret": SECRET}]


def test_oauth2__a_probe_replaces_a_token_that_is_refused(stage, endpoint):
    """And the only permit is free for the message afterwards."""
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-2"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, probe="1s", max_connections=1)], workers=2)
    wait_until(lambda: len([line for line in provider.commands() if line == "NOOP"]) >= 2)
    assert [session.user for session in provider.sessions[:3]] == [None, USER, USER]
    assert send_one(mux.port()).code == 250
    assert len(tokens.forms()) == 2 and not mux.find("probe_failed") and not mux.find("upstream_suspended")


def test_oauth2__sixteen_sessions_of_all_workers_wait_for_one_request(stage, endpoint):
    tokens = endpoint()
    tokens.gate = threading.Event()
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, max_connections=16)], workers=4)
    codes = []
    senders = [threading.Thread(target=lambda: codes.append(send_one(mux.port()).code)) for _ in range(16)]
    for sender in senders:
        sender.start()
    wait_until(lambda: tokens.requests)
    tokens.gate.set()
    for sender in senders:
        sender.join()
    assert codes == [250] * 16
    assert len(tokens.requests) == 1


def test_oauth2__an_expired_token_is_replaced(stage, endpoint):
    """Each token lives for 1 s: messages go on, and a token is never used for longer."""
    tokens = endpoint(expires_in=1)
    provider = stage.provider(users={USER: {f"token-number-{i}" for i in range(1, 100)}},
                              mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, max_messages_per_connection=1)])

    def another_token():
        assert send_one(mux.port()).code == 250
        return len(tokens.tokens) >= 3
    wait_until(another_token)
    assert tokens.overlapping == 1
    assert not mux.find("attempt_failed")


def test_oauth2__nobody_waits_while_the_old_token_is_good(stage, endpoint):
    """At 80% of its life the next one is fetched; the endpoint stalls, and mail goes on with the old."""
    tokens = endpoint({}, "stall", expires_in=5)
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, max_messages_per_connection=1)])

    def renewing():
        assert send_one(mux.port()).code == 250
        return len(tokens.requests) == 2
    wait_until(renewing)
    assert send_one(mux.port()).code == 250
    assert {session.token for session in provider.sessions} == {"token-number-1"}


def test_oauth2__one_retry_with_a_fresh_token(stage, endpoint):
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-2"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens)])
    assert send_one(mux.port()).code == 250
    assert [session.token for session in provider.sessions] == ["token-number-1", "token-number-2"]
    assert mux.summary()["attempts"] == "1"
    assert not mux.find("upstream_suspended")
    no_secrets(mux, "token-number")


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_oauth2__a_fresh_token_that_is_refused_too_suspends(stage, endpoint, mechanism):
    tokens = endpoint()
    provider = stage.provider(users={USER: "another"}, mechanisms=f"PLAIN {mechanism}")
    second = stage.provider()
    mux = stage.mux([upstream(provider, tokens), second])
    for _ in range(2):
        assert send_one(mux.port()).code == 250
    assert len(second.taken) == 2
    assert [session.token for session in provider.sessions] == ["token-number-1", "token-number-2"]
    line = mux.wait("upstream_suspended")
    assert line["phase"] == "auth" and "535" in line["reason"] and "invalid_token" in line["reason"]
    no_secrets(mux, "token-number")


def test_oauth2__no_password_mechanism_is_ever_used(stage, endpoint):
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms="PLAIN LOGIN")
    mux = stage.mux([upstream(provider, tokens)])
    assert send_one(mux.port()).code == 451
    assert "AUTH" not in provider.sessions[0].verbs()
    assert mux.wait("attempt_failed")["phase"] == "auth"


def test_oauth2__a_refusal_of_the_endpoint_counts_as_refused_credentials(stage, endpoint):
    tokens = endpoint((400, {"error": "invalid_grant", "error_description": "expired\r\nor revoked"}))
    provider, second = stage.provider(users={USER: "x"}, mechanisms=MECHANISMS), stage.provider()
    mux = stage.mux([upstream(provider, tokens), second])
    for _ in range(3):
        assert send_one(mux.port()).code == 250
    assert (len(second.taken), provider.connections, len(tokens.requests)) == (3, 0, 1)
    line = mux.wait("upstream_suspended", upstream="p0")
    assert line["phase"] == "auth"
    assert "400: invalid_grant (expired??or revoked)" in line["reason"]
    no_secrets(mux)


@pytest.mark.parametrize("answer", [500, 503, 429, (200, b"no json"), (200, b'{"token_type":"Bearer"}'),
                                    (200, {"access_token": "t", "token_type": "mac"}),
                                    (200, b"x" * 100_000), 302])
def test_oauth2__a_failing_endpoint_is_a_temporary_failure(stage, endpoint, answer):
    tokens = endpoint(answer)
    provider, second = stage.provider(users={USER: "x"}, mechanisms=MECHANISMS), stage.provider()
    mux = stage.mux([upstream(provider, tokens), second])
    assert send_one(mux.port()).code == 250
    line = mux.wait("attempt_failed", upstream="p0")
    assert line["phase"] == "auth" and "token endpoint" in line["reason"]
    assert (len(second.taken), provider.connections) == (1, 0)
    assert not mux.find("upstream_suspended")
    no_secrets(mux)


def test_oauth2__a_failing_endpoint_is_not_hammered(stage, endpoint):
    tokens = endpoint(503)
    provider, second = stage.provider(users={USER: "x"}, mechanisms=MECHANISMS), stage.provider()
    mux = stage.mux([upstream(provider, tokens), second])
    for _ in range(40):
        assert send_one(mux.port()).code == 250
    assert len(second.taken) == 40
    assert len(tokens.requests) <= 3


def test_oauth2__after_trouble_of_the_endpoint_all_is_well_again(stage, endpoint):
    tokens = endpoint(500, {})
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens)])
    assert send_one(mux.port()).code == 451
    wait_until(lambda: send_one(mux.port()).code == 250)
    assert len(provider.taken) == 1


def test_oauth2__an_endpoint_that_stalls_or_is_not_there(stage, endpoint):
    stalling, gone = endpoint("stall"), endpoint()
    gone.close()
    provider = stage.provider(users={USER: "x"}, mechanisms=MECHANISMS)
    last = stage.provider()
    mux = stage.mux([upstream(provider, gone), upstream(provider, stalling), last])
    assert send_one(mux.port()).code == 250
    assert len(last.taken) == 1 and provider.connections == 0
    for name in ("p0", "p1"):
        assert mux.wait("attempt_failed", upstream=name)["phase"] == "auth"
    assert not mux.find("upstream_suspended")


def test_oauth2__the_daemon_ends_while_the_endpoint_stalls(stage, endpoint):
    tokens = endpoint("stall")
    provider = stage.provider(users={USER: "x"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens)], drain_timeout="1s")
    with Wire(mux.port()) as wire:
        wire.greet().send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        assert [wire.reply().code for _ in range(3)] == [250, 250, 354]
        wire.send("Subject: x\r\n\r\n.\r\n")
        wait_until(lambda: tokens.requests)
        mux.signal()
        assert wire.reply().code in (451, 421)
    mux.wait_end(10)


def test_oauth2__a_refresh_token_that_is_replaced_is_used_from_then_on(stage, endpoint):
    tokens = endpoint({"refresh_token": "rotated-one"}, {"refresh_token": "rotated-two"}, {}, expires_in=1)
    provider = stage.provider(users={USER: {f"token-number-{i}" for i in range(1, 100)}},
                              mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, max_messages_per_connection=1)])

    def third():
        assert send_one(mux.port()).code == 250
        return len(tokens.tokens) >= 3
    wait_until(third)
    assert [form["refresh_token"] for form in tokens.forms()][:3] == [REFRESH, "rotated-one", "rotated-two"]
    mux.wait("oauth2_refresh_token_changed", 2, upstream="p0")
    no_secrets(mux, "rotated")


def test_oauth2__a_secret_of_a_file(stage, endpoint, tmp_path):
    (tmp_path / "refresh").write_text(REFRESH + "\n")
    (tmp_path / "refresh").chmod(0o600)
    tokens = endpoint()
    provider = stage.provider(users={USER: "token-number-1"}, mechanisms=MECHANISMS)
    mux = stage.mux([upstream(provider, tokens, oauth2={
        "refresh_token": None, "refresh_token_file": str(tmp_path / "refresh")})])
    assert send_one(mux.port()).code == 250
    assert tokens.forms()[0]["refresh_token"] == REFRESH
    assert mux.config["users"][0]["email"] == APP
