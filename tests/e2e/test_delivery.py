"""Who gets a message and how: suspension, recipients, pools, what is changed on the way."""
import concurrent.futures
import threading

import pytest

from harness import APP, HOSTNAME, wait_until
from wire import Wire, message, send_one

SECRET = "a long secret"


def send_many(port, count, **options):
    """Replies to `count` messages on one connection."""
    with Wire(port) as wire:
        wire.greet()
        return [wire.submit(message(mark=f"m{i}"), **options) for i in range(count)]


# ---- suspension, lost connections ----

def test_suspension__after_535_the_provider_is_left_alone(stage):
    first = stage.provider(users={"u": "another secret"})
    second = stage.provider()
    mux = stage.mux([{"url": first.url, "user": "u", "pass": SECRET}, second])
    for _ in range(3):
        assert send_one(mux.port()).code == 250
    assert (first.connections, len(second.taken)) == (1, 3)
    event = mux.wait("upstream_suspended")
    assert (event["upstream"], event["level"], event["phase"]) == ("p0", "error", "auth")
    assert "535" in event["reason"] and len(mux.find("upstream_suspended")) == 1
    assert [line["attempts"] for line in mux.wait("message", 3)] == ["2", "1", "1"]


def test_suspension__no_weaker_mechanism_is_tried_after_535(stage):
    provider = stage.provider(users={"u": "another secret"})
    mux = stage.mux([{"url": provider.url, "user": "u", "pass": SECRET}])
    reply = send_one(mux.port())
    assert (reply.code, reply.enhanced) == (451, "4.4.1")
    assert [verb for verb in provider.sessions[0].verbs() if verb == "AUTH"] == ["AUTH"]


def test_reused_connection__lost_before_its_first_reply_is_replaced_and_not_counted(stage):
    provider = stage.provider({"mail": [None, "close", None, "reset"]})
    other = stage.provider()
    mux = stage.mux([provider, other], workers=1)
    assert [reply.code for reply in send_many(mux.port(), 3)] == [250] * 3
    assert (len(provider.taken), provider.connections, other.connections) == (3, 3, 0)
    assert {line["attempts"] for line in mux.wait("message", 3)} == {"1"}


def test_reused_connection__closed_while_idle_is_replaced(stage):
    provider = stage.provider()
    mux = stage.mux([provider], workers=1)
    with Wire(mux.port()) as wire:
        wire.greet()
        for count in (1, 2, 3):
            assert wire.submit(message()).code == 250
            for sock in list(provider.sockets):
                sock.shutdown(2)
            wait_until(lambda done=count: provider.sessions[done - 1].ended)
    assert {line["attempts"] for line in mux.wait("message", 3)} == {"1"}


def test_fresh_connection__lost_at_mail_is_a_failure(stage):
    first, second = stage.provider({"mail": "close"}), stage.provider()
    mux = stage.mux([first, second])
    assert send_one(mux.port()).code == 250
    assert (first.connections, len(second.taken)) == (1, 1)


# ---- which provider can take it ----

@pytest.mark.parametrize("lacks, parameters, body", [
    ("8BITMIME", " BODY=8BITMIME", "grün\r\n".encode()),
    ("SIZE", "", b"x" * 900 + b"\r\n"),
])
def test_unsuitable__a_provider_that_cannot_take_it_is_passed_over(stage, lacks, parameters, body):
    words = [word for word in ("PIPELINING", "8BITMIME", "SIZE 1000000") if not word.startswith(lacks)]
    if lacks == "SIZE":
        words.append("SIZE 800")
    first, second = stage.provider(extensions=words), stage.provider()
    mux = stage.mux([first, second])
    with Wire(mux.port()) as wire:
        assert wire.greet().submit(message(body), parameters=parameters).code == 250
        assert wire.submit(message()).code == 250  # a small one of 7 bits
    assert "MAIL" in first.sessions[0].verbs()
    assert (len(first.taken), len(second.taken)) == (1, 1)
    assert lacks in mux.wait("attempt_failed")["reason"]


def test_unsuitable__everywhere_is_a_refusal(stage):
    mux = stage.mux([stage.provider(extensions=["SIZE 200"]), stage.provider(extensions=["SIZE 250"])])
    reply = send_one(mux.port(), message(b"x" * 900 + b"\r\n"))
    assert (reply.code, reply.enhanced) == (552, "5.3.4")
    assert send_one(mux.port(), message(b"")).code == 552  # our Received field counts


def test_loop__a_provider_that_bears_our_name_is_passed_over(stage):
    ourselves, other = stage.provider(hello=HOSTNAME), stage.provider()
    mux = stage.mux([ourselves, other])
    assert send_one(mux.port()).code == 250
    assert (len(ourselves.messages), len(other.taken)) == (0, 1)
    assert "MAIL" not in ourselves.sessions[0].verbs()


@pytest.mark.parametrize("fields, code", [(100, 250), (101, 554)])
def test_loop__a_hundred_received_fields_are_the_most(stage, fields, code):
    provider = stage.provider()
    mux = stage.mux([provider])
    reply = send_one(mux.port(), b"Received: from a by b; now\r\n" * fields + message())
    assert reply.code == code and reply.enhanced == ("2.0.0" if code == 250 else "5.4.6")
    assert len(provider.messages) == (1 if code == 250 else 0)


# ---- recipients ----

def test_recipients__all_or_nothing_and_the_refused_one_is_named(stage):
    first = stage.provider({"rcpt": [None, "550 5.1.1 no such person here", None]})
    second = stage.provider()
    mux = stage.mux([first, second])
    reply = send_one(mux.port(), recipients=("a@example.net", "b@example.net", "c@example.net"))
    assert (reply.code, reply.enhanced) == (550, "5.1.1")
    assert "b@example.net" in reply.text and "no such person here" in reply.text
    assert not first.messages and second.connections == 0
    assert "DATA" not in first.sessions[0].verbs() and "BDAT" not in first.sessions[0].verbs()
    assert mux.summary()["outcome"] == "rejected"


def test_recipients__a_temporary_refusal_of_one_moves_all_to_the_next(stage):
    first = stage.provider({"rcpt": [None, "450 4.2.0 greylisted"]})
    second = stage.provider()
    mux = stage.mux([first, second])
    recipients = ("a@example.net", "b@example.net")
    assert send_one(mux.port(), recipients=recipients).code == 250
    assert not first.messages
    assert second.taken[0].rcpt == ["TO:<a@example.net>", "TO:<b@example.net>"]


def test_recipients__a_hundred_in_one_transaction(stage):
    provider = stage.provider()
    mux = stage.mux([provider])
    recipients = [f"r{i}@example.net" for i in range(100)]
    assert send_one(mux.port(), recipients=recipients).code == 250
    assert provider.taken[0].rcpt == [f"TO:<{one}>" for one in recipients]


@pytest.mark.parametrize("path, sent", [
    ("@relay.test,@other.test:to@example.net", "TO:<to@example.net>"),  # the route is stripped
    ("Postmaster", "TO:<Postmaster>"),
    ('"a b"@example.net', 'TO:<"a b"@example.net>'),
    ("CaseKept@example.net", "TO:<CaseKept@example.net>"),
    ("to@[192.0.2.1]", "TO:<to@[192.0.2.1]>"),
    ("to@[IPv6:2001:db8::1]", "TO:<to@[IPv6:2001:db8::1]>"),
])
def test_recipients__paths_arrive_as_they_are(stage, path, sent):
    provider = stage.provider()
    mux = stage.mux([provider])
    assert send_one(mux.port(), recipients=(path,)).code == 250
    assert provider.taken[0].rcpt == [sent]


# ---- on_unknown ----

def test_on_unknown__failover_is_the_users_choice(stage):
    first, second = stage.provider({"after-dot": "close"}), stage.provider()
    mux = stage.mux([first, second], users=[{"email": APP, "upstreams": ["p0", "p1"],
                                             "on_unknown": "failover"}])
    assert send_one(mux.port()).code == 250
    assert (len(first.messages), len(second.taken)) == (1, 1)  # the second copy that was risked
    assert mux.wait("outcome_unknown")["upstream"] == "p0"


@pytest.mark.parametrize("fault", [
    {"after-dot": "close"}, {"dot": "554 5.6.0 spam"}, {"mail": "451 4.3.0 later"}, {"mail": "550 5.7.1 no"},
    {"rcpt": "550 5.1.1 nobody"},
], ids=["unknown", "final", "later", "no", "recipient"])
def test_on_unknown__what_the_next_one_does_not_take_stays_unknown(stage, fault):
    first, second = stage.provider({"after-dot": "close"}), stage.provider(fault)
    mux = stage.mux([first, second], users=[{"email": APP, "upstreams": ["p0", "p1"],
                                             "on_unknown": "failover", "limits": ["1/day"]}])
    reply = send_one(mux.port())
    assert (reply.code, reply.enhanced) == (451, "4.4.2")
    line = mux.summary()
    assert (line["outcome"], line["upstream"], line["attempts"]) == (
        "unknown", "p1" if "after-dot" in fault else "p0", "2")
    assert send_one(mux.port()).enhanced == "4.7.1"  # it counts against the limit


# ---- selectors ----

@pytest.mark.parametrize("selector, upstreams, counts", [
    ("failover", ["p0", "p1"], [20, 0]),
    ("round-robin", ["p0", "p1"], [10, 10]),
    ("round-robin", [{"p0": 3}, {"p1": 1}], [15, 5]),
])
def test_selector__shares_are_exact_over_workers(stage, selector, upstreams, counts):
    providers = [stage.provider(), stage.provider()]
    mux = stage.mux(providers, users=[{"email": APP, "selector": selector, "upstreams": upstreams}])
    for _ in range(20):
        assert send_one(mux.port()).code == 250
    assert [len(one.taken) for one in providers] == counts


# ---- pools ----

def test_pool__fifty_messages_need_few_connections(stage):
    provider = stage.provider()
    mux = stage.mux([provider])
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        replies = list(pool.map(lambda _: send_one(mux.port()), range(50)))
    assert {reply.code for reply in replies} == {250}
    assert len(provider.taken) == 50 and provider.connections <= 10  # five clients, two workers


def test_pool__max_messages_per_connection(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "max_messages_per_connection": 4}], workers=1)
    assert {reply.code for reply in send_many(mux.port(), 10)} == {250}
    wait_until(lambda: sum("QUIT" in one.verbs() for one in provider.sessions) >= 2)
    assert [one.verbs().count("MAIL") for one in provider.sessions] == [4, 4, 2]


def test_pool__one_is_opened_ahead_where_messages_had_to_wait(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "open_ahead": True, "max_messages_per_connection": 1}],
                    workers=1)
    for count in range(1, 6):
        assert send_one(mux.port()).code == 250
        wait_until(lambda n=count: provider.connections == n + (n > 1))
    assert {line["attempts"] for line in mux.wait("message", 5)} == {"1"}
    mux.stop()
    assert [one.verbs() for one in provider.sessions if "MAIL" not in one.verbs()] == [["EHLO", "QUIT"]]


def test_pool__one_that_cannot_be_opened_ahead_is_nobodys_failure(stage):
    provider = stage.provider({"banner": [None, None, "421 4.3.2 not now", None]})
    mux = stage.mux([{"url": provider.url, "max_messages_per_connection": 1, "open_ahead": True,
                      "breaker": {"failures": 1, "pause": "1h"}}], workers=1)
    for count in (1, 3):  # the third one is greeted by 421
        assert send_one(mux.port()).code == 250
        wait_until(lambda n=count: provider.connections == n)
    wait_until(lambda: provider.sessions[2].ended)
    assert send_one(mux.port()).code == 250
    assert [(line["attempts"], line["outcome"]) for line in mux.wait("message", 3)] == [("1", "delivered")] * 3
    assert not mux.find("breaker_opened")


def test_pool__max_connections_over_all_workers(stage):
    """With one connection, messages of two workers' clients pass one after the other."""
    provider = stage.provider(latency=0.01)
    mux = stage.mux([{"url": provider.url, "max_connections": 1}])
    most, lock = [0], threading.Lock()

    def one(_):
        reply = send_one(mux.port())
        with lock:
            most[0] = max(most[0], sum(not session.ended for session in provider.sessions))
        return reply.code
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {250}
    assert len(provider.taken) == 24 and most[0] == 1


def test_pool__other_credentials_never_share_a_connection(stage):
    provider = stage.provider(users={"one": SECRET, "two": SECRET + "!"})
    mux = stage.mux(
        {"one": {"url": provider.url, "user": "one", "pass": SECRET},
         "two": {"url": provider.url, "user": "two", "pass": SECRET + "!"}},
        users=[{"email": APP, "selector": "round-robin", "upstreams": ["one", "two"]}], workers=1)
    for number in range(10):
        assert send_one(mux.port(), message(mark=f"n{number}")).code == 250
    assert sorted(session.user for session in provider.sessions) == ["one", "two"]
    by_id = {line["message_id"]: line["upstream"] for line in mux.wait("message", 10)}
    for one in provider.taken:
        mark = one.data.split(b"Message-ID: ")[1].split(b"\r\n")[0].decode()
        assert by_id[mark] == one.session.user


def test_pool__idle_connections_are_closed(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "idle": "100ms"}])
    assert send_one(mux.port()).code == 250
    wait_until(lambda: provider.sessions[0].ended, 10)
    assert provider.sessions[0].verbs()[-1] == "QUIT"


def test_pool__rset_only_when_needed(stage):
    provider = stage.provider({"rcpt": [None, "550 5.1.1 no", None]})
    mux = stage.mux([provider], workers=1)
    codes = [reply.code for reply in send_many(mux.port(), 3)]
    assert codes == [250, 550, 250] and provider.connections == 1
    assert provider.sessions[0].verbs().count("RSET") == 1


@pytest.mark.parametrize("offered", [True, False])
def test_pipelining__only_where_it_was_offered(stage, offered):
    """Without PIPELINING no command comes before the reply to the one before."""
    provider = stage.provider(extensions=["8BITMIME"] + ["PIPELINING"] * offered, latency=0.02)
    mux = stage.mux([provider])
    assert send_one(mux.port(), recipients=("a@example.net", "b@example.net")).code == 250
    assert (provider.sessions[0].pipelined > 0) == offered


# ---- what is changed: Received ----

def test_received__on_top_with_protocol_and_id(stage):
    provider = stage.provider()
    mux = stage.mux([provider])
    data = b"Received: from before by someone; then\r\n" + message()
    assert send_one(mux.port(), data).code == 250
    one, summary = provider.taken[0], mux.summary()
    assert one.original == data
    added = " ".join(one.added.decode().split())
    assert added.startswith("Received: from client.test ([127.0.0.1]) by mux.test with ESMTP "
                            f"id {summary['id']} for <to@example.net>;")


def test_received__does_not_tell_recipients_of_each_other(stage):
    provider = stage.provider()
    mux = stage.mux([provider])
    send_one(mux.port(), recipients=("a@example.net", "secret@example.net"))
    assert b"@example.net" not in provider.taken[0].added


@pytest.mark.parametrize("received", ["no-client", "off"])
def test_received__without_the_client_or_not_at_all(stage, received):
    provider = stage.provider()
    mux = stage.mux([provider], users=[{"email": APP, "upstreams": ["p0"], "received": received}])
    assert send_one(mux.port()).code == 250
    one = provider.taken[0]
    if received == "off":
        assert one.data == message()
    else:
        assert b"127.0.0.1" not in one.added and b"client.test" not in one.added
        assert b"by mux.test with ESMTP" in b" ".join(one.added.split())
        assert one.original == message()


# ---- what is changed: rewrite_from ----

REWRITTEN = [
    # From as it comes; what it becomes
    ("From: Someone <from@example.com>", "From: Someone <me@provider.test>"),
    ("From: from@example.com", "From: me@provider.test"),
    ('From: "Last, First" <from@example.com>', 'From: "Last, First" <me@provider.test>'),
    ("FROM: =?utf-8?q?Gr=C3=BCn?=\r\n <from@example.com>", "=?utf-8?q?Gr=C3=BCn?="),
]


@pytest.mark.parametrize("field, becomes", REWRITTEN)
def test_rewrite_from__envelope_and_header(stage, field, becomes):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "rewrite_from": "me@provider.test"}])
    rest = "To: <to@example.net>\r\nSubject: x <from@example.com>\r\n\r\nFrom: <from@example.com>\r\n"
    assert send_one(mux.port(), f"{field}\r\n{rest}".encode()).code == 250
    one = provider.taken[0]
    assert one.mail.startswith("FROM:<me@provider.test>")
    changed, rest_there = one.original.decode()[:-len(rest)], one.original.decode()[-len(rest):]
    assert rest_there == rest
    assert becomes in changed and "me@provider.test>" in changed.replace(
        "From: me@provider.test", "<me@provider.test>") and "example.com" not in changed


def test_rewrite_from__is_made_for_each_provider_anew(stage):
    first, second = stage.provider({"dot": "451 4.3.0 no"}), stage.provider()
    mux = stage.mux([{"url": first.url, "rewrite_from": "me@first.test", "reply_to": "add"}, second])
    assert send_one(mux.port()).code == 250
    assert "FROM:<me@first.test>" in first.commands()[1]
    assert second.taken[0].mail.startswith("FROM:<from@example.com>")
    assert second.taken[0].original == message()


def test_rewrite_from__keeps_the_old_address_as_reply_to(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "rewrite_from": "me@provider.test", "reply_to": "add"}])
    assert send_one(mux.port()).code == 250
    assert b"Reply-To: " in provider.taken[0].data
    assert b"from@example.com" in provider.taken[0].data.split(b"Reply-To: ")[1].split(b"\r\n")[0]
    assert send_one(mux.port(), message(extra="Reply-To: <asked@example.com>\r\n")).code == 250
    assert provider.taken[1].data.count(b"Reply-To:") == 1
    assert b"Reply-To: <asked@example.com>" in provider.taken[1].data


def test_rewrite_from__never_for_a_bounce(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "rewrite_from": "me@provider.test"}])
    assert send_one(mux.port(), sender="").code == 250
    assert provider.taken[0].mail.startswith("FROM:<>")
    assert provider.taken[0].original == message()


def test_auth_parameter__is_not_passed_on(stage):
    provider = stage.provider(users={"u": SECRET})
    mux = stage.mux([{"url": provider.url, "user": "u", "pass": SECRET}],
                    users=[{"email": APP, "password": SECRET, "upstreams": ["p0"]}],
                    listeners=[{"auth": "required", "allow_insecure_auth": True}])
    with Wire(mux.port()) as wire:
        wire.greet().auth_plain(APP, SECRET)
        assert wire.submit(message(), parameters=" AUTH=somebody@example.com").code == 250
    assert "somebody" not in provider.taken[0].mail
