"""Routes: which message takes which, several recipients, keys that a route leaves to its user."""
import pytest

from harness import APP
from wire import Wire, message, send_one

SENDER = "ann@example.com"


def routes_mux(stage, routes, users=None, **top):
    """A daemon whose upstreams are `own`, where the users' messages go, and `way`, a route's. Returns it
    and the two providers."""
    own, way = stage.provider(), stage.provider()
    for route in routes:
        route.setdefault("upstreams", ["way"])
    users = users or [{"email": APP, "upstreams": ["own"]}]
    mux = stage.mux({"own": own, "way": way}, users=users, routes=routes, **top)
    return mux, own, way


def taken_by(own, way):
    return len(own.taken), len(way.taken)


@pytest.mark.parametrize("match, fits, fits_not", [
    ({"user": "app@*"}, {}, None),
    ({"user": "other@*"}, None, {}),
    ({"client": "127.0.0.0/8"}, {}, None),
    ({"client": ["10.0.0.0/8", "::1"]}, None, {}),
    ({"from": "ANN@example.com"}, {"sender": SENDER}, {"sender": "bob@example.com"}),
    ({"from": "<>"}, {"sender": ""}, {"sender": SENDER}),
    ({"from_domain": "*.example.com"}, {"sender": "a@x.example.com"}, {"sender": SENDER}),
    ({"rcpt": "bob@*"}, {"to": ["Bob@example.org"]}, {"to": ["carl@example.org"]}),
    ({"rcpt_domain": ["example.org", "*.example.org"]}, {"to": ["a@m.EXAMPLE.org"]},
     {"to": ["a@example.net"]}),
    ({"header": {"X-Priority": "bulk"}}, {"fields": "X-Priority:\r\n  BULK\r\n"},
     {"fields": "X-Priority: high\r\n"}),
    ({"header": {"X-A": "1", "X-B": "2"}}, {"fields": "X-B: 2\r\nX-A: 1\r\n"}, {"fields": "X-A: 1\r\n"}),
    ({"size": ">2KiB"}, {"body": "x" * 60 + "\r\n", "lines": 50}, {"body": "x\r\n", "lines": 1}),
    ({"time": "00:00-24:00 Europe/Berlin"}, {}, None),
    ({"not": {"rcpt_domain": "example.org", "from": "ann@*"}},
     {"sender": SENDER, "to": ["a@example.net"]}, {"sender": SENDER, "to": ["a@example.org"]}),
    ({}, {}, None),
])
def test_routes__each_word(stage, match, fits, fits_not):
    mux, own, way = routes_mux(stage, [{"name": "the way", "match": match}])

    def send(sender=SENDER, to=("bob@example.org",), fields="", body="hello\r\n", lines=1):
        text = f"From: {SENDER}\r\n{fields}\r\n{body * lines}"
        assert send_one(mux.port(), text.encode(), sender=sender, recipients=list(to)).code == 250

    if fits is not None:
        send(**fits)
        assert taken_by(own, way) == (0, 1)
        assert mux.wait("message")["route"] == "the way"
    if fits_not is not None:
        send(**fits_not)
        assert len(own.taken) == 1 and len(way.taken) == (fits is not None)
        mux.wait("message", route="user")


def test_routes__the_first_that_fits_is_taken_and_named(stage):
    mux, own, way = routes_mux(stage, [
        {"match": {"rcpt": "nobody@*"}, "upstreams": ["own"]},
        {"match": {"rcpt": "bob@*"}},
        {"match": {}, "upstreams": ["own"]},
    ])
    assert send_one(mux.port(), recipients=["bob@example.org"]).code == 250
    assert send_one(mux.port(), recipients=["carl@example.org"]).code == 250
    assert taken_by(own, way) == (1, 1)
    assert [line["route"] for line in mux.wait("message", 2)] == ["routes[1]", "routes[2]"]


# ---- several recipients ----

def rcpt_codes(wire, *recipients):
    replies = [wire.command(f"RCPT TO:<{one}>") for one in recipients]
    return [reply.code for reply in replies], replies[-1]


def begin(wire):
    wire.greet()
    assert wire.command(f"MAIL FROM:<{SENDER}>").code == 250


def finish(wire):
    assert wire.command("DATA").code == 354
    wire.send(message() + b".\r\n")
    return wire.reply()


def test_mixed_routes__a_recipient_of_another_route_is_put_off(stage):
    mux, own, way = routes_mux(stage, [{"match": {"rcpt_domain": "example.org"}}])
    with Wire(mux.port()) as wire:
        begin(wire)
        codes, last = rcpt_codes(wire, "a@example.net", "b@example.com", "c@example.net", "d@example.org")
        assert codes == [250, 250, 250, 452]
        assert last.enhanced == "4.5.3" and "another route" in last.text
        assert rcpt_codes(wire, "e@example.net")[0] == [250]
        assert finish(wire).code == 250
        assert taken_by(own, way) == (1, 0) and len(own.taken[0].rcpt) == 4
        assert wire.submit(message(), sender=SENDER, recipients=["d@example.org"]).code == 250
    assert taken_by(own, way) == (1, 1)


def test_mixed_routes__what_the_header_may_still_decide_counts(stage):
    mux, own, way = routes_mux(stage, [
        {"match": {"rcpt_domain": "example.org", "header": {"X-Priority": "bulk"}}}])
    with Wire(mux.port()) as wire:
        begin(wire)
        assert rcpt_codes(wire, "a@example.org", "b@example.net", "c@example.org")[0] == [250, 452, 250]
        assert finish(wire).code == 250  # not bulk: both go the user's way
    assert taken_by(own, way) == (1, 0)


def test_mixed_routes__first_lets_all_go_its_way(stage):
    mux, own, way = routes_mux(
        stage, [{"match": {"rcpt_domain": "example.org"}}],
        users=[{"email": APP, "upstreams": ["own"], "mixed_routes": "first"}])
    with Wire(mux.port()) as wire:
        begin(wire)
        assert rcpt_codes(wire, "a@example.org", "b@example.net")[0] == [250, 250]
        assert finish(wire).code == 250
    assert taken_by(own, way) == (0, 1) and len(way.taken[0].rcpt) == 2


def test_mixed_routes__the_first_one_is_the_first_accepted(stage):
    mux, own, way = routes_mux(stage, [{"match": {"rcpt_domain": "example.org"}}])
    with Wire(mux.port()) as wire:
        begin(wire)
        assert wire.command("RCPT TO:<nonsense>").code in (501, 553)
        assert rcpt_codes(wire, "a@example.org", "b@example.net")[0] == [250, 452]
        assert wire.command("RSET").code == 250
        assert wire.command(f"MAIL FROM:<{SENDER}>").code == 250
        assert rcpt_codes(wire, "b@example.net", "a@example.org")[0] == [250, 452]


def test_lmtp__a_recipient_is_alone_where_the_message_may_go_there(stage):
    own = stage.provider()
    mux = stage.mux(
        {"own": own, "boxes": {"url": "lmtp://127.0.0.1:1"}}, users=[
            {"email": APP, "upstreams": ["own", "boxes"], "mixed_routes": "first"}],
        routes=[{"match": {"rcpt_domain": "example.org"}, "upstreams": ["own"]}])
    with Wire(mux.port()) as wire:
        begin(wire)
        codes, last = rcpt_codes(wire, "a@example.net", "b@example.net")
        assert codes == [250, 452] and last.enhanced == "4.5.3" and "LMTP" in last.text
        assert finish(wire).code == 250
        assert wire.command(f"MAIL FROM:<{SENDER}>").code == 250
        assert rcpt_codes(wire, "a@example.org", "b@example.org")[0] == [250, 250]
    assert len(own.taken) == 1


# ---- keys that a route has or leaves to the user ----

def test_routes__keys_that_a_route_leaves_out_are_the_users(stage):
    mux, own, way = routes_mux(
        stage,
        [{"match": {"rcpt": "own@*"}, "received": "full"}, {"match": {"rcpt": "user@*"}}],
        users=[{"email": APP, "upstreams": ["own"], "received": "off"}])
    assert send_one(mux.port(), recipients=["own@example.org"]).code == 250
    assert send_one(mux.port(), recipients=["user@example.org"]).code == 250
    assert [b"Received:" in one.data for one in way.taken] == [True, False]


def test_routes__each_has_its_own_turns(stage):
    first, second = stage.provider(), stage.provider()
    users = [{"email": APP, "upstreams": ["a", "b"], "selector": "round-robin"}]
    routes = [{"match": {"rcpt": "bob@*"}, "upstreams": ["a", "b"], "selector": "round-robin"}]
    mux = stage.mux({"a": first, "b": second}, users=users, routes=routes)
    for to in ("bob@example.org", "carl@example.org") * 2:
        assert send_one(mux.port(), recipients=[to]).code == 250
    assert [line["upstream"] for line in mux.wait("message", 4)] == ["a", "a", "b", "b"]


# ---- cut-through ----

CUT_THROUGH = [{"email": APP, "upstreams": ["own"], "delivery": "cut-through"}]


def test_cut_through__each_recipient_goes_its_first_ones_route(stage):
    mux, own, way = routes_mux(stage, [{"match": {"rcpt_domain": "example.org"}}], users=CUT_THROUGH)
    with Wire(mux.port()) as wire:
        begin(wire)
        assert rcpt_codes(wire, "a@example.org", "b@example.net")[0] == [250, 452]
        assert finish(wire).code == 250
    assert taken_by(own, way) == (0, 1)
    assert mux.wait("message")["route"] == "routes[0]"


def test_cut_through__a_route_whose_recipients_were_all_refused_is_not_the_next_ones(stage):
    own, way = stage.provider(), stage.provider({"rcpt": ["550 5.1.1 nobody of that name"]})
    mux = stage.mux({"own": own, "way": way}, users=CUT_THROUGH,
                    routes=[{"match": {"rcpt_domain": "example.org"}, "upstreams": ["way"]}])
    with Wire(mux.port()) as wire:
        begin(wire)
        codes, last = rcpt_codes(wire, "a@example.org", "b@example.net")
        assert codes == [550, 452] and last.enhanced == "4.5.3"
        assert wire.command("RSET").code == 250
        assert wire.command(f"MAIL FROM:<{SENDER}>").code == 250
        assert rcpt_codes(wire, "b@example.net")[0] == [250]
        assert finish(wire).code == 250
    assert taken_by(own, way) == (1, 0)
