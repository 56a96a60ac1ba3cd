"""`dedup_window`: a message that is sent again is delivered once."""
import concurrent.futures
import threading
import time

import pytest

from harness import APP, wait_until
from wire import Wire, send_one

WINDOW = {"dedup_window": "1m"}


def with_window(stage, providers, workers=4, **more):
    names = [f"p{i}" for i in range(len(providers))]
    return stage.mux(providers, users=[{"email": APP, "upstreams": names, **WINDOW, **more}],
                     workers=workers)


def mail(mark="one", body=b"the body\r\n"):
    return b"Message-ID: <" + mark.encode() + b"@app.example>\r\nSubject: s\r\n\r\n" + body


def held(*providers):
    return [len(provider.taken) for provider in providers]


def test_repeat__of_what_was_taken_gets_its_reply_and_no_second_copy(stage):
    provider = stage.provider()
    mux = with_window(stage, [provider])
    first, second = (send_one(mux.port(), data=mail()) for _ in range(2))
    assert (first.code, str(second)) == (250, str(first))
    assert held(provider) == [1]
    lines = mux.wait("message", 2)
    assert [(line["outcome"], line["attempts"], line["upstream"]) for line in lines] == [
        ("delivered", "1", "p0"), ("delivered", "0", "p0")]
    assert [line["route"] for line in lines] == ["user", "user"]


@pytest.mark.parametrize("other", [
    {"data": mail("two")}, {"data": mail(body=b"another body\r\n")}, {"recipients": ["c@example.org"]},
    {"sender": "other@example.com"},
], ids=["message-id", "body", "recipient", "sender"])
def test_another_message__is_no_repeat(stage, other):
    provider = stage.provider()
    mux = with_window(stage, [provider])
    assert send_one(mux.port(), **{"data": mail()}).code == 250
    assert send_one(mux.port(), **{"data": mail(), **other}).code == 250
    assert held(provider) == [2]


@pytest.mark.parametrize("field", [b"", b"Message-ID:  \r\n"], ids=["absent", "empty"])
def test_without_a_message_id__the_header_section_counts(stage, field):
    """Two messages with the same body, of which the second would else be lost."""
    provider = stage.provider()
    mux = with_window(stage, [provider])
    for subject, copies in (b"one", 1), (b"two", 2), (b"one", 2):
        data = field + b"Subject: " + subject + b"\r\n\r\nthe body\r\n"
        assert send_one(mux.port(), data=data).code == 250
        assert held(provider) == [copies]


def test_recipients__in_another_order_are_the_same(stage):
    provider = stage.provider()
    mux = with_window(stage, [provider])
    for rcpts in (["a@example.org", "b@example.org"], ["b@example.org", "a@example.org"]):
        assert send_one(mux.port(), data=mail(), recipients=rcpts).code == 250
    assert held(provider) == [1]


def test_without_a_window__every_copy_is_delivered(stage):
    provider = stage.provider()
    mux = stage.mux([provider])
    for _ in range(2):
        assert send_one(mux.port(), data=mail()).code == 250
    assert held(provider) == [2]


def test_window__is_over_though_another_users_is_longer(stage):
    """Entries are let go in order: one that is kept for long must not keep those behind it alive."""
    provider = stage.provider()
    users = [{"email": "long@example.com", "upstreams": ["p0"], "dedup_window": "1h"},
             {"email": "short@example.com", "upstreams": ["p0"], "dedup_window": "1ms"}]
    mux = stage.mux([provider], users=users, workers=1, listeners=[
        {"trust": {"127.0.0.0/8": user["email"]}} for user in users])
    assert send_one(mux.port(0), data=mail()).code == 250
    for copies in (2, 3):
        assert send_one(mux.port(1), data=mail()).code == 250
        assert held(provider) == [copies]
        time.sleep(0.002)


def test_copies_at_once__wait_for_the_first_and_get_its_reply(stage):
    go = threading.Event()

    def hold(_connection):
        assert go.wait(30)

    provider = stage.provider({"dot": hold})
    mux = with_window(stage, [provider])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(send_one, mux.port(), data=mail()) for _ in range(8)]
        wait_until(lambda: any(line.startswith(("DATA", "BDAT")) for line in provider.commands()))
        go.set()
        assert {str(reply.result()) for reply in replies} == {str(replies[0].result())}
    assert replies[0].result().code == 250
    assert held(provider) == [1]


def test_refused__is_tried_again(stage):
    provider = stage.provider({"rcpt": ["451 4.3.0 later", None]})
    mux = with_window(stage, [provider])
    assert send_one(mux.port(), data=mail()).code == 451
    assert send_one(mux.port(), data=mail()).code == 250
    assert held(provider) == [1]


def test_unknown__is_repeated_at_the_same_upstream_only(stage):
    first, second = stage.provider({"dot": ["close", "close", None]}), stage.provider()
    mux = with_window(stage, [{"url": first.url}, second],
                      selector="round-robin")
    for _ in range(2):
        reply = send_one(mux.port(), data=mail())
        assert (reply.code, reply.enhanced) == (451, "4.4.2")
    assert send_one(mux.port(), data=mail()).code == 250
    assert send_one(mux.port(), data=mail()).code == 250
    assert (first.connections, second.connections) == (3, 0)
    assert {line["upstream"] for line in mux.wait("message", 4)} == {"p0"}


def test_unknown__waits_for_the_same_upstream_while_it_is_down(stage):
    first, second = stage.provider({"dot": ["close"], "mail": [None, "451 4.3.0 no"]}), stage.provider()
    mux = with_window(stage, [first, second])
    codes = [send_one(mux.port(), data=mail()).code for _ in range(3)]
    assert codes == [451, 451, 250]
    assert held(second) == [0]


def test_first_client_gone__the_copy_that_waits_is_delivered(stage):
    go = threading.Event()

    def hold(_connection):
        assert go.wait(30)

    provider = stage.provider({"mail": [hold, None]})
    mux = with_window(stage, [provider], workers=1)
    gone = Wire(mux.port())
    gone.greet()
    gone.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
    for _ in range(3):
        gone.reply()
    gone.send(mail() + b".\r\n")
    wait_until(lambda: any(line.startswith("MAIL") for line in provider.commands()))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waits = pool.submit(send_one, mux.port(), data=mail(), sender="a@example.com",
                            recipients=["b@example.org"])
        gone.reset()
        mux.wait("message", outcome="client_gone")
        go.set()
        assert waits.result().code == 250
    assert held(provider) == [1]
