"""delivery: cut-through. Each recipient's own reply, the body while it arrives, failover at any point."""
import random

import pytest

from harness import APP, wait_until
from wire import Wire, message, send_one, stuffed

LARGE = b"".join(b"%07d " % i + b"x" * 90 + b"\r\n" for i in range(85_000))  # over 8 MiB


def cut_through(stage, upstreams, workers=1, listeners=None, **user):
    """A daemon whose user has these upstreams in this order."""
    names = [f"p{i}" for i in range(len(upstreams))]
    users = [{"email": APP, "upstreams": names, "delivery": "cut-through", **user}]
    return stage.mux(upstreams, users=users, workers=workers, listeners=listeners)


def to(**replies):
    """A fault of RCPT by the recipient's local-part."""
    def fault(connection):
        local = connection.session.commands[-1].partition("<")[2].partition("@")[0]
        return replies.get(local)
    return fault


def recipients(wire, *locals_):
    return [wire.command(f"RCPT TO:<{local}@example.net>").code for local in locals_]


def begin(wire, *locals_):
    """Up to the 354; all recipients are taken."""
    wire.greet()
    assert wire.command("MAIL FROM:<from@example.com>").code == 250
    assert set(recipients(wire, *(locals_ or ("to",)))) == {250}
    assert wire.command("DATA").code == 354
    return wire


def dots(provider):
    return [session for session in provider.sessions if session.body is not None
            and b"\r\n.\r\n" in session.body]


# ---- recipients ----

def test_recipients__each_gets_its_own_reply_and_the_rest_get_the_message(stage):
    provider = stage.provider({"rcpt": to(no="550 5.1.1 nobody here", later="450 4.2.1 not now")})
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert wire.command("RCPT TO:<one@example.net>").code == 250
        assert str(wire.command("RCPT TO:<no@example.net>")) == "550 5.1.1 nobody here"
        assert str(wire.command("RCPT TO:<later@example.net>")) == "450 4.2.1 not now"
        assert wire.command("RCPT TO:<two@example.net>").code == 250
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        reply = wire.reply()
    assert (reply.code, reply.enhanced) == (250, "2.0.0") and "p0: taken as 1" in reply.text
    assert [rcpt.partition(">")[0] for rcpt in provider.taken[0].rcpt] == [
        "TO:<one@example.net", "TO:<two@example.net"]
    assert provider.taken[0].original == message()
    line = mux.summary()
    assert (line["outcome"], line["nrcpt"], line["attempts"]) == ("delivered", "2", "1")


def test_recipients__they_are_asked_while_the_client_names_them(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert provider.connections == 0
        assert recipients(wire, "one") == [250]
        assert provider.sessions[0].verbs() == ["EHLO", "MAIL", "RCPT"]
        assert recipients(wire, "two") == [250]
        assert provider.sessions[0].verbs() == ["EHLO", "MAIL", "RCPT", "RCPT"]
        assert wire.command("RSET").code == 250
        assert wire.submit(message()).code == 250  # on the same connection
    assert provider.connections == 1 and len(provider.taken) == 1


def test_recipients__a_refused_one_alone_leaves_nothing_to_send(stage):
    provider = stage.provider({"rcpt": to(no="550 5.1.1 nobody here")})
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "no") == [550]
        assert wire.command("DATA").code == 554
        assert recipients(wire, "yes") == [250]
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
    assert len(provider.taken) == 1


@pytest.mark.parametrize("first", ["450 4.2.1 not now", "554 5.7.1 not you"])
def test_recipients__what_another_may_take_goes_to_the_next_as_long_as_nothing_is_promised(stage, first):
    one, two = stage.provider({"rcpt": to(a=first)}), stage.provider()
    mux = cut_through(stage, [one, two])
    assert send_one(mux.port(), recipients=["a@example.net", "b@example.net"]).code == 250
    assert (len(one.taken), len(two.taken), len(two.taken[0].rcpt)) == (0, 1, 2)


@pytest.mark.parametrize("second", ["450 4.2.1 not now", "554 5.7.1 not you"])
def test_recipients__behind_a_promise_the_upstreams_own_reply_counts(stage, second):
    one, two = stage.provider({"rcpt": to(b=second)}), stage.provider()
    mux = cut_through(stage, [one, two])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "a", "b") == [250, int(second[:3])]
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
    assert (len(one.taken), two.connections) == (1, 0)


@pytest.mark.parametrize("reply", ["535 5.7.8 who are you", "550 5.4.5 Daily user sending limit exceeded."])
def test_recipients__what_a_reply_behind_a_promise_says_of_the_upstream_is_heeded(stage, reply):
    """It is this recipient's own reply, and the next message goes elsewhere."""
    one, two = stage.provider({"rcpt": to(b=reply)}), stage.provider()
    mux = cut_through(stage, [{"url": one.url, "profile": "gmail"}, two])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "a", "b") == [250, int(reply[:3])]
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
        assert wire.submit(message()).code == 250
    assert (len(one.taken), len(two.taken)) == (1, 1)


def test_recipients__without_a_reachable_upstream_there_is_no_promise(stage):
    one = stage.provider({"connect": "refuse"})
    two = stage.provider({"mail": "451 4.3.0 not now"})
    mux = cut_through(stage, [one, two])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        reply = wire.command("RCPT TO:<a@example.net>")
        assert (reply.code, reply.enhanced) == (451, "4.4.1")
        assert "p0: " in reply.text and "p1: 451 4.3.0 not now (mail)" in reply.text
        assert wire.command("DATA").code == 554
        two.faults.clear()
        assert recipients(wire, "a") == [250]  # asked anew


@pytest.mark.parametrize("replies, told", [
    (["450 4.2.1 first", "451 4.2.1 second"], "451 4.2.1 second"),
    (["554 5.7.1 first", "554 5.7.1 second"], "554 5.7.1 <a@example.net>: p0: first"),
    (["554 5.7.1 first", "450 4.2.1 second"], "450 4.2.1 second"),
])
def test_recipients__refused_by_all_it_hears_a_refusal(stage, replies, told):
    providers = [stage.provider({"rcpt": reply}) for reply in replies]
    mux = cut_through(stage, providers)
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert str(wire.command("RCPT TO:<a@example.net>")) == told


def test_recipients__5xx_to_mail_by_all_is_told_to_the_recipient(stage):
    mux = cut_through(stage, [stage.provider({"mail": "550 5.7.1 not you"}) for _ in range(2)])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert wire.command("RCPT TO:<a@example.net>").code == 550


def test_recipients__what_a_server_cannot_take_is_known_at_rcpt(stage):
    one = stage.provider(extensions=("PIPELINING",))
    two = stage.provider()
    for providers, code in (([one], 554), ([one, two], 250)):
        mux = cut_through(stage, providers)
        with Wire(mux.port()) as wire:
            wire.greet().command("MAIL FROM:<from@example.com> BODY=8BITMIME")
            assert recipients(wire, "a") == [code]


# ---- the body ----

def test_body__it_is_passed_on_while_it_arrives(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        begin(wire)
        session = provider.sessions[0]
        wire.send(b"From: <from@example.com>\r\nSubject: half")
        wait_until(lambda: session.verbs()[-1] == "DATA", what="DATA before the header section is whole")
        assert not session.body
        wire.send(b" a subject\r\n\r\n")
        wait_until(lambda: session.body and session.body.endswith(b"half a subject\r\n\r\n"))
        for piece in (b"one\r\n", b"..two\r\n", b"thr", b"ee\r\n", LARGE[:300_000 // 99 * 100]):
            wire.send(piece)
            wait_until(lambda part=piece: session.body.endswith(part), what=repr(piece[:20]))
        assert not provider.messages
        wire.send(b".\r\n")
        assert wire.reply().code == 250
    assert provider.taken[0].original.endswith(b"\r\n\r\none\r\n.two\r\nthree\r\n" + LARGE[:303_000])


def test_body__bytes_are_exact_whatever_their_pieces(stage):
    rng = random.Random(7)
    mux = cut_through(stage, [stage.provider(), ], workers=2)
    provider = stage.providers[0]
    for size in (0, 1, 1000, 262_143, 262_145, 1_500_000):
        body = b"".join(bytes(rng.choices(b".abc \x80\xff", k=rng.randrange(90))) + b"\r\n"
                        for _ in range(size // 40))
        data = message(body)
        with Wire(mux.port()) as wire:
            begin(wire)
            octets = stuffed(data)
            while octets:
                take = rng.choice((1, 2, 3, 700, 40_000, 1_000_000)) if len(octets) < 2000 \
                    else rng.choice((40_000, 1_000_000))
                wire.send(octets[:take])
                octets = octets[take:]
            assert wire.reply().code == 250
        assert provider.taken[-1].original == data, size


def test_body__bdat_is_passed_on_too(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        wire.greet()
        for data in (message(b".dot\r\n" * 1000), message(b""), message(LARGE[:400_000])):
            assert wire.submit(data, chunk=70_001).code == 250
            assert provider.taken[-1].original == data


@pytest.mark.parametrize("data", [b"no header\r\n", b"\r\nonly a body\r\n", b"", b"Subject: x\r\n",
                                  b"A: b\r\n\r\n", b"A: " + b"x" * 70_000 + b"\r\n\r\nbody\r\n"],
                         ids=range(6))
def test_body__odd_messages_come_out_as_they_went_in(stage, data):
    provider = stage.provider()
    mux = cut_through(stage, [provider], received="off")
    assert send_one(mux.port(), data).code == 250
    assert provider.taken[0].data == data


def test_body__rewrite_from_follows_each_upstream(stage):
    one, two = stage.provider({"data": "451 4.3.0 not now"}), stage.provider()
    mux = cut_through(stage, [{"url": one.url, "rewrite_from": "one@example.org"},
                              {"url": two.url, "rewrite_from": "two@example.org"}])
    assert send_one(mux.port()).code == 250
    assert one.sessions[0].commands[1].startswith("MAIL FROM:<one@example.org>")
    taken = two.taken[0]
    assert taken.mail.startswith("FROM:<two@example.org>")
    assert taken.original == message(sender="two@example.org")


def test_body__a_slow_upstream_slows_nothing_but_itself(stage):
    provider = stage.provider({"body": "stall"})
    mux = cut_through(stage, [provider])
    assert mux.memory_kib() > 0
    with Wire(mux.port()) as held, Wire(mux.port()) as other:
        memory = mux.memory_kib()
        begin(held).send(stuffed(message(LARGE * 4))[:-3])  # the client is not held up
        other.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(other, "a") == [250]
        assert mux.memory_kib() - memory < 20_000  # the copy is in a file


# ---- failover ----

FAULTS = {
    "connect": "refuse", "banner": "close", "ehlo": "554 5.3.2 no", "mail": "451 4.3.0 not now",
    "rcpt": "close", "data": "451 4.3.0 not now", "body": "reset", "dot": "451 4.3.0 not now",
}


@pytest.mark.parametrize("phase", FAULTS)
@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_failover__in_each_phase_the_next_one_gets_the_whole_message(stage, phase, size):
    if phase == "body" and size < 1000:
        pytest.skip("a small body is gone before it can fail")
    one, two = stage.provider({phase: FAULTS[phase]}), stage.provider()
    mux = cut_through(stage, [one, two])
    data = message(LARGE[:size // 100 * 100] or b"small\r\n")
    reply = send_one(mux.port(), data, recipients=["a@example.net", "b@example.net"])
    assert (reply.code, reply.enhanced) == (250, "2.0.0"), reply
    assert not one.taken and len(two.taken) == 1
    assert two.taken[0].original == data and len(two.taken[0].rcpt) == 2
    line = mux.summary()
    assert (line["outcome"], line["upstream"], line["attempts"]) == ("delivered", "p1", "2")


def test_failover__the_upstream_is_lost_between_recipients(stage):
    one, two = stage.provider({"rcpt": [None, "reset"]}), stage.provider()
    mux = cut_through(stage, [one, two])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "a", "b", "c") == [250, 250, 250]
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
    assert [rcpt[4] for rcpt in two.taken[0].rcpt] == ["a", "b", "c"]


def hang_up(provider):
    for sock in list(provider.sockets):
        sock.shutdown(2)


def test_failover__the_upstream_is_lost_when_nobody_is_promised(stage):
    one, two = stage.provider({"rcpt": to(no="550 5.1.1 nobody here")}), stage.provider()
    mux = cut_through(stage, [{"url": one.url}, two])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "no") == [550]
        hang_up(one)
        wait_until(lambda: one.sessions[0].ended)
        assert recipients(wire, "no", "yes") == [550, 250]  # asked anew
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
    assert [rcpt[4:7] for rcpt in one.taken[0].rcpt] == ["yes"] and one.connections == 2
    assert two.connections == 0


def test_failover__lost_while_the_client_pauses_in_the_body(stage):
    one, two = stage.provider(), stage.provider()
    mux = cut_through(stage, [one, two])
    data = message(LARGE[:2_000_000])
    octets = stuffed(data)
    with Wire(mux.port()) as wire:
        begin(wire).send(octets[:1_000_000])
        wait_until(lambda: len(one.sessions[0].body or b"") > 900_000)
        hang_up(one)
        # The next one has all there is, before the client goes on.
        wait_until(lambda: two.sessions and len(two.sessions[0].body or b"") > 900_000)
        wire.send(octets[1_000_000:])
        assert wire.reply().code == 250
    assert two.taken[0].original == data and not one.taken


def test_failover__the_next_one_is_asked_only_for_those_that_were_promised(stage):
    one = stage.provider({"rcpt": to(no="550 5.1.1 nobody"), "data": "451 4.3.0 not now"})
    two = stage.provider()
    mux = cut_through(stage, [one, two])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "a", "no", "b") == [250, 550, 250]
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
    assert [rcpt[4] for rcpt in two.taken[0].rcpt] == ["a", "b"]
    assert not any("no@" in line for line in two.commands())


def test_failover__one_that_refuses_a_promised_recipient_is_passed_over(stage):
    one = stage.provider({"data": "451 4.3.0 not now"})
    two = stage.provider({"rcpt": to(b="550 5.1.1 nobody")})
    three = stage.provider()
    mux = cut_through(stage, [one, two, three])
    assert send_one(mux.port(), recipients=["a@example.net", "b@example.net"]).code == 250
    assert (len(two.messages), len(three.taken)) == (0, 1)
    assert not dots(two)


def test_failover__none_left_is_451_at_the_dot(stage):
    one = stage.provider({"data": "451 4.3.0 not now"})
    two = stage.provider({"rcpt": "550 5.1.1 nobody"})
    mux = cut_through(stage, [one, two])
    with Wire(mux.port()) as wire:
        begin(wire).send(stuffed(message()))
        reply = wire.reply()
    assert (reply.code, reply.enhanced) == (451, "4.4.1")
    assert "p0: 451 4.3.0 not now (data)" in reply.text and "p1: 550 5.1.1 nobody (rcpt)" in reply.text
    line = mux.summary()
    assert (line["outcome"], line["attempts"], line["code"]) == ("deferred", "2", "451")


def test_failover__a_421_behind_a_recipient_is_tried_once_more_on_a_fresh_connection(stage):
    provider, other = stage.provider({"data": ["421 4.3.0 going down"]}), stage.provider()
    mux = cut_through(stage, [provider, other])
    assert send_one(mux.port()).code == 250
    assert (provider.connections, len(provider.taken), other.connections) == (2, 1, 0)


def test_failover__5xx_behind_the_dot_is_final(stage):
    one, two = stage.provider({"dot": "554 5.6.0 spam"}), stage.provider()
    mux = cut_through(stage, [one, two])
    reply = send_one(mux.port())
    assert (reply.code, reply.enhanced) == (554, "5.6.0") and two.connections == 0
    assert mux.summary()["outcome"] == "rejected"


@pytest.mark.parametrize("on_unknown, code, copies", [("defer", 451, 0), ("failover", 250, 1)])
def test_unknown__the_connection_is_lost_behind_the_dot(stage, on_unknown, code, copies):
    one, two = stage.provider({"after-dot": "close"}), stage.provider()
    mux = cut_through(stage, [one, two], on_unknown=on_unknown)
    reply = send_one(mux.port())
    assert reply.code == code and len(two.taken) == copies
    mux.wait("outcome_unknown")
    assert mux.summary()["outcome"] == ("unknown" if code == 451 else "delivered")


# ---- limits ----

def test_limits__an_upstreams_quota_is_never_exceeded(stage):
    one, two = stage.provider(), stage.provider()
    mux = cut_through(stage, [{"url": one.url, "limits": ["5 recipients/day"]}, two])
    to_two = ["a@example.net", "b@example.net"]
    for _ in range(4):
        assert send_one(mux.port(), recipients=to_two).code == 250
    assert sum(len(message.rcpt) for message in one.messages) == 4
    assert sum(len(message.rcpt) for message in two.messages) == 4
    # The third began at the first one, which had room for one recipient alone, and ended without a dot.
    assert len(dots(one)) <= 2 and send_one(mux.port()).code == 250 and len(one.messages) == 3


def test_limits__a_users_limit_is_told_to_the_recipient(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider], limits=["3 recipients/day"])
    with Wire(mux.port()) as wire:
        wire.greet().command("MAIL FROM:<from@example.com>")
        assert recipients(wire, "a", "b", "c") == [250, 250, 250]
        reply = wire.command("RCPT TO:<d@example.net>")
        assert reply.code == 550 and "3 recipients/day" in reply.text
        assert wire.command("DATA").code == 354
        wire.send(stuffed(message()))
        assert wire.reply().code == 250
        wire.command("MAIL FROM:<from@example.com>")
        reply = wire.command("RCPT TO:<e@example.net>")
        assert (reply.code, reply.enhanced) == (450, "4.7.1")
    assert len(provider.messages) == 1


def test_limits__two_at_once_are_decided_at_the_dot(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider], limits=["1 message/day"])
    with Wire(mux.port()) as one, Wire(mux.port()) as two:
        begin(one), begin(two)
        for wire in (one, two):
            wire.send(stuffed(message()))
        assert sorted((one.reply().code, two.reply().code)) == [250, 450]
    assert len(provider.messages) == 1


# ---- no dot ----

SMUGGLED = b"\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<v@example.net>\r\nDATA\r\nx\r\n"


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\0",
                                 b"\r\n\0.\r\n"])
def test_bare_newline__the_upstream_is_closed_without_a_dot(stage, end):
    provider = stage.provider()
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        begin(wire).send(message(b"one\r\n"))
        wait_until(lambda: b"one\r\n" in (provider.sessions[0].body or b""))
        wire.send(b"two" + end + SMUGGLED + b".\r\n")
        reply = wire.reply()
        assert (reply.code, reply.enhanced) == (550, "5.5.2")
        wait_until(lambda: provider.sessions[0].ended)
        assert not provider.messages and not dots(provider)
        assert not any("evil" in line for line in provider.commands())
        assert wire.submit(message()).code == 250
    assert len(provider.taken) == 1


@pytest.mark.parametrize("when", ["recipients", "data", "header", "body"])
def test_client_gone__nothing_is_delivered(stage, when):
    provider = stage.provider()
    mux = cut_through(stage, [provider])
    wire = Wire(mux.port())
    wire.greet().command("MAIL FROM:<from@example.com>")
    assert recipients(wire, "a") == [250]
    if when != "recipients":
        assert wire.command("DATA").code == 354
    if when == "header":
        wire.send(b"Subject: x")
    if when == "body":
        wire.send(message(b"one\r\n"))
        wait_until(lambda: b"one\r\n" in (provider.sessions[0].body or b""))
    wire.reset()
    if when != "recipients":
        wait_until(lambda: provider.sessions[0].ended)
    assert not dots(provider)
    assert send_one(mux.port()).code == 250
    assert len(provider.messages) == 1


def test_client_gone__while_the_upstream_is_asked(stage):
    provider = stage.provider({"rcpt": ["stall"]})
    mux = cut_through(stage, [provider])
    wire = Wire(mux.port())
    wire.greet().command("MAIL FROM:<from@example.com>")
    wire.send("RCPT TO:<a@example.net>\r\n")
    wait_until(lambda: "RCPT TO:<a@example.net>" in provider.commands())
    wire.reset()
    assert send_one(mux.port()).code == 250
    assert len(provider.messages) == 1


def test_client_gone__behind_the_dot_the_outcome_counts(stage):
    provider = stage.provider(slow_dot=0.5)
    mux = cut_through(stage, [provider])
    wire = Wire(mux.port())
    begin(wire).send(stuffed(message()))
    wait_until(lambda: provider.messages)
    wire.reset()
    assert mux.summary()["outcome"] == "delivered"


@pytest.mark.parametrize("limit, data, code", [
    ({"max_size": 20_000}, message(LARGE[:30_000]), 552),
    ({}, b"X: " + b"y" * 300_000 + b"\r\n\r\n", 554),
], ids=["size", "header"])
def test_refused__a_message_that_is_not_taken_ends_without_a_dot(stage, limit, data, code):
    provider = stage.provider()
    mux = cut_through(stage, [provider], listeners=[limit])
    with Wire(mux.port()) as wire:
        begin(wire).send(stuffed(data))
        assert wire.reply().code == code
        wait_until(lambda: provider.sessions[0].ended)
        assert not provider.messages
        assert wire.submit(message()).code == 250


def test_refused__allow_from_judges_before_the_dot(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider], allow_from=["from@example.com"])
    reply = send_one(mux.port(), message(sender="other@example.com"))
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert not provider.messages and not dots(provider)


def test_shutdown__a_message_on_its_way_is_finished(stage):
    provider = stage.provider()
    mux = cut_through(stage, [provider])
    with Wire(mux.port()) as wire:
        begin(wire).send(message(b"one\r\n"))
        wait_until(lambda: b"one\r\n" in (provider.sessions[0].body or b""))
        mux.signal()
        mux.wait("stopping")
        wire.send(b"two\r\n.\r\n")
        assert wire.reply().code == 250
    mux.wait_end()
    assert len(provider.taken) == 1
