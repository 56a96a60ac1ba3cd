"""What is changed in a message, and nothing else: rewrite_from over all kinds of headers, add_missing."""
import random
import re

import pytest

from harness import APP
from wire import message, send_one

ME = "me@provider.test"
BODY = (b"From: <from@example.com>\r\n\r\nFrom joe@example.com Mon Jan  1\r\n>From x\r\n..\r\n"
        b"caf\xe9 \xff\x00\r\n").replace(b"\x00", b"\x01")

# What comes as From (and Sender); what leaves
FIELDS = {
    "bare": (b"From: from@example.com", b"From: " + ME.encode()),
    "folded": (b"From: Some\r\n One\r\n\t<from@example.com>",
               b"From: Some\r\n One\r\n\t<" + ME.encode() + b">"),
    "encoded words": (b"From: =?utf-8?q?Gr=C3=BCn?=\r\n =?iso-8859-1?q?=E9?= <from@example.com>",
                      b"From: =?utf-8?q?Gr=C3=BCn?=\r\n =?iso-8859-1?q?=E9?= <" + ME.encode() + b">"),
    "several mailboxes": (b"Sender: <a@example.com>\r\nFrom: A <a@example.com>,\r\n B <b@example.com>",
                          b"From: A <" + ME.encode() + b">"),
    "missing": (b"X-Nothing: here", b"X-Nothing: here"),
    "8-bit name": (b"From: Gr\xfcn <from@example.com>", b"From: Gr\xfcn <" + ME.encode() + b">"),
    "utf-8 name": ("From: Grün <from@example.com>".encode(), f"From: Grün <{ME}>".encode()),
    "utf-8 address": ("From: Grün <grün@exämple.com>".encode(), f"From: Grün <{ME}>".encode()),
}


@pytest.mark.parametrize("name", FIELDS)
def test_rewriting__the_rest_stays_as_it_came(stage, name):
    field, becomes = FIELDS[name]
    before, after = b"X-First: <from@example.com>\r\n", b"X-Last: From: x\r\n"
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "rewrite_from": ME}])
    sent = before + field + b"\r\n" + after + b"\r\n" + BODY
    assert send_one(mux.port(), sent, parameters=" BODY=8BITMIME").code == 250
    one = provider.taken[0]
    added = b"From: <" + ME.encode() + b">\r\n" if name == "missing" else b""
    assert one.mail.startswith(f"FROM:<{ME}>")
    assert one.original == before + becomes + b"\r\n" + after + added + b"\r\n" + BODY


def test_rewriting__seeded_bodies_are_untouched(stage):
    rng = random.Random(4)
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "rewrite_from": ME, "reply_to": "add"}])
    lines = [b"From me", b"From: <from@example.com>", b".", b"..", b"", b"\xff\xfe", b"x" * 900]
    for _ in range(50):
        body = b"".join(rng.choice(lines) + b"\r\n" for _ in range(rng.randrange(30)))
        assert send_one(mux.port(), message(body), parameters=" BODY=8BITMIME").code == 250
        expected = message(body).replace(
            b"From: Someone <from@example.com>\r\n",
            b"From: Someone <" + ME.encode() + b">\r\nReply-To: Someone <from@example.com>\r\n", 1)
        assert provider.taken[-1].original == expected


# ---- add_missing ----

BARE = b"Subject: x\r\nFrom: <from@example.com>\r\n\r\nDate: in the body\r\n"


def stage_with(stage, providers, **user):
    return stage.mux(providers, users=[{"email": APP, "upstreams": [f"p{i}" for i in range(len(providers))],
                                        **user}])


def test_add_missing__nothing_by_default(stage):
    provider = stage.provider()
    assert send_one(stage_with(stage, [provider]).port(), BARE).code == 250
    assert provider.taken[0].original == BARE


def test_add_missing__behind_received_on_top(stage):
    provider = stage.provider()
    mux = stage_with(stage, [provider], add_missing=["date", "message-id"])
    assert send_one(mux.port(), BARE).code == 250
    one, ident = provider.taken[0], mux.summary()["id"]
    found = re.fullmatch(rb"Date: \w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n"
                         rb"Message-ID: <" + ident.encode() + rb"@mux.test>\r\n", one.original[:-len(BARE)])
    assert found and one.original.endswith(BARE)


def test_add_missing__only_what_is_not_there(stage):
    provider = stage.provider()
    mux = stage_with(stage, [provider], add_missing=["date", "message-id"], received="off")
    assert send_one(mux.port()).code == 250
    assert send_one(mux.port(), b"DATE:\r\n" + BARE).code == 250
    assert send_one(mux.port(), b"Message-Id: x\r\n" + BARE).code == 250
    whole, dated, named = provider.taken
    assert whole.data == message()
    assert dated.data.startswith(b"Message-ID: <") and dated.data.endswith(b"DATE:\r\n" + BARE)
    assert named.data.startswith(b"Date: ") and named.data.endswith(b"Message-Id: x\r\n" + BARE)


def test_add_missing__is_the_same_for_each_provider(stage):
    first, second = stage.provider({"after-dot": "close"}), stage.provider()
    mux = stage_with(stage, [first, second], add_missing="message-id", on_unknown="failover")
    assert send_one(mux.port(), BARE).code == 250
    assert first.messages[0].original == second.taken[0].original != BARE


# ---- profiles: what a reply means ----

def test_profile__a_rule_makes_a_refusal_behind_the_dot_the_next_one_s(stage):
    """Without the profile a 5xx there is final."""
    text = "554 Message rejected: Email address is not verified. The following identities failed"
    for profile, code in (({}, 554), ({"profile": "ses"}, 250)):
        first, second = stage.provider({"dot": text}), stage.provider()
        mux = stage.mux([{"url": first.url, **profile}, second])
        assert send_one(mux.port()).code == code
        assert len(second.taken) == (code == 250)


def test_profile__too_many_pauses_the_provider(stage):
    """The daily limit of an account is a 5xx that says nothing of the message: the next one takes it, and
    nobody asks the first one again for an hour."""
    first = stage.provider({"dot": "550 5.4.5 Daily user sending limit exceeded."})
    second = stage.provider()
    mux = stage.mux([{"url": first.url, "profile": "gmail"}, second])
    for _ in range(3):
        assert send_one(mux.port()).code == 250
    assert len(second.taken) == 3
    assert sum(line.startswith("MAIL") for line in first.commands()) == 1


def test_profile__alone_and_paused_is_a_451(stage):
    only = stage.provider({"dot": "550 5.4.5 Daily user sending limit exceeded."})
    mux = stage.mux([{"url": only.url, "profile": "gmail"}])
    assert send_one(mux.port()).code == 451
    reply = send_one(mux.port())
    assert reply.code == 451 and "p0" in str(reply)
    assert sum(line.startswith("MAIL") for line in only.commands()) == 1


def test_cut_through__changes_the_same(stage):
    provider = stage.provider()
    mux = stage.mux([{"url": provider.url, "rewrite_from": ME}],
                    users=[{"email": APP, "upstreams": ["p0"], "delivery": "cut-through",
                            "add_missing": ["date", "message-id"]}])
    assert send_one(mux.port(), BARE).code == 250
    one = provider.taken[0]
    assert one.mail.startswith(f"FROM:<{ME}>")
    changed = BARE.replace(b"<from@example.com>", b"<" + ME.encode() + b">")
    assert re.fullmatch(rb"Date: [^\r]+\r\nMessage-ID: <\w+@mux.test>\r\n" + re.escape(changed),
                        one.original)
    assert send_one(mux.port()).code == 250
    assert provider.taken[1].original == message().replace(b"<from@example.com>", b"<" + ME.encode() + b">")
