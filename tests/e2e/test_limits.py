"""Who may do what: trust, allow_from, limits, the PROXY header, XCLIENT."""
import concurrent.futures
import socket
import struct

import pytest

from harness import APP, wait_until
from wire import Closed, Wire, message, send_one

PASSWORD = "a password of length"


def last_summary(mux, provider):
    """Of the last message that the provider has; the log is read a little later."""
    return wait_until(lambda: mux.find("message", outcome="delivered")[len(provider.taken) - 1:],
                      what="the summary")[-1]


# ---- trust ----

def test_trust__each_network_has_its_user(stage):
    """Of 127.0.0.0/8 each address can connect: the sender's is chosen by the source."""
    provider = stage.provider()
    users = [{"email": APP, "upstreams": ["p0"]},
             {"email": "printers@example.com", "upstreams": ["p0"], "allow_from": ["scan@example.com"]}]
    mux = stage.mux([provider], users=users, listeners=[
        {"trust": {"127.0.0.2/32": APP, "127.0.0.3": "printers@example.com"}, "auth": "required",
         "allow_insecure_auth": True}])
    with Wire(mux.port(), source="127.0.0.2") as wire:
        assert wire.greet().submit(message(mark="two")).code == 250
    with Wire(mux.port(), source="127.0.0.3") as wire:
        assert wire.greet().submit(message()).code == 550
        assert wire.submit(message(sender="scan@example.com", mark="three"),
                           sender="scan@example.com").code == 250
    with Wire(mux.port(), source="127.0.0.4") as wire:
        assert wire.greet().envelope().code == 530
    assert mux.summary(message_id="<two@example.com>")["user"] == APP
    assert mux.summary(message_id="<three@example.com>")["user"] == "printers@example.com"


def test_trust__of_a_unix_socket_and_ipv6(stage, tmp_path):
    provider = stage.provider()
    path = str(tmp_path / "smtp.sock")
    mux = stage.mux([provider], listeners=[
        {"listen": f"unix:{path}", "auth": "off", "trust": {"127.0.0.0/8": APP}},
        {"listen": "[::1]:0", "trust": {"::1/128": APP}}])
    with Wire(None, path=path) as wire:
        assert "PIPELINING" in wire.greet().offers
    with Wire(mux.port(1), host="::1") as wire:
        assert wire.greet().submit(message()).code == 250
    assert b"[IPv6:::1]" in provider.taken[0].added


# ---- allow_from ----

@pytest.mark.parametrize("sender, header, code", [
    ("a@example.com", "a@example.com", 250),
    ("A@EXAMPLE.com", "a@Example.COM", 250),
    ("a@other.test", "a@example.com", 550),
    ("a@example.com", "a@other.test", 550),
    ("a@example.com", "a@example.com>, Other <b@other.test", 550),
    ("", "a@example.com", 550),
    ("a@sub.example.com", "a@example.com", 550),
])
def test_allow_from__judges_envelope_and_header(allowing, sender, header, code):
    mux, provider = allowing
    before = len(provider.messages)
    with Wire(mux.port()) as wire:
        reply = wire.greet().submit(message(sender=header), sender=sender)
    assert (reply.code, reply.enhanced) == ((250, "2.0.0") if code == 250 else (550, "5.7.1"))
    assert len(provider.messages) - before == (1 if code == 250 else 0)


def test_allow_from__bounces_where_they_are_listed(allowing):
    mux, _ = allowing
    assert send_one(mux.port(1), message(sender="a@example.com"), sender="").code == 250


def test_allow_from__a_second_from_field_is_judged_too(allowing):
    mux, _ = allowing
    data = message(sender="a@example.com", extra="From: <b@other.test>\r\n")
    assert send_one(mux.port(), data, sender="a@example.com").code == 550


@pytest.fixture(scope="module")
def allowing(module_stage):
    provider = module_stage.provider()
    mux = module_stage.mux([provider], users=[
        {"email": APP, "upstreams": ["p0"], "allow_from": ["*@example.com"]},
        {"email": "daemon@example.com", "upstreams": ["p0"], "allow_from": ["*@example.com", "<>"]}],
        listeners=[{}, {"trust": {"127.0.0.0/8": "daemon@example.com"}}])
    return mux, provider


# ---- limits ----

def test_limits__recipients(stage):
    provider = stage.provider()
    mux = stage.mux([provider], listeners=[{"max_recipients": 102}])
    with Wire(mux.port()) as wire:
        assert wire.greet().offers["LIMITS"] == ["RCPTMAX=102"]
        wire.command("MAIL FROM:<a@example.com>")
        replies = [wire.command(f"RCPT TO:<r{i}@example.net>") for i in range(104)]
        assert [reply.code for reply in replies] == [250] * 102 + [452] * 2
        assert replies[-1].enhanced == "4.5.3"
        assert wire.chunks(message(), 10_000).code == 250
    assert len(provider.taken[0].rcpt) == 102


def test_limits__connections_and_connections_per_client(stage):
    mux = stage.mux([stage.provider()], listeners=[{"max_connections": 4},
                                                   {"max_connections_per_client": 2}])
    for nth, count in ((0, 4), (1, 2)):
        wires = [Wire(mux.port(nth), source="127.0.0.7").greet() for _ in range(count)]
        with Wire(mux.port(nth), source="127.0.0.7") as one:
            assert one.reply().code == 421 and one.is_closed()
        if nth == 1:
            with Wire(mux.port(nth), source="127.0.0.8") as other:
                other.greet()
        wires.pop().close()

        def room(nth=nth):
            try:
                with Wire(mux.port(nth), source="127.0.0.7") as again:
                    return again.reply().code == 220
            except Closed:
                return False
        wait_until(room, 10, "room for one more")
        for wire in wires:
            wire.close()


def test_limits__memory(stage):
    """Messages that wait in memory, here for their last octets, are counted over all sessions."""
    provider = stage.provider()
    mux = stage.mux([provider], memory_limit="600KiB")
    body = (b"x" * 998 + b"\r\n") * 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        wires = [Wire(mux.port()).greet() for _ in range(8)]

        def fill(wire):
            wire.envelope()
            reply = wire.command("DATA")
            if reply.code == 354:
                wire.send(message(body))
                wire.send(b".\r\n")
                reply = wire.reply()
            return reply.code
        codes = list(pool.map(fill, wires))
    assert set(codes) <= {250, 452}
    assert len(provider.taken) == codes.count(250) >= 1
    for wire in wires:
        wire.close()
    with Wire(mux.port()) as wire:
        assert wire.greet().submit(message(body)).code == 250


def test_limits__memory_held_by_one_is_not_there_for_another(stage):
    mux = stage.mux([stage.provider()], memory_limit="300KiB", workers=1)
    with Wire(mux.port()) as holder, Wire(mux.port()) as other:
        holder.greet().envelope()
        holder.command("DATA")
        holder.send(message((b"x" * 998 + b"\r\n") * 240))
        other.greet()

        def refused():
            return other.submit(message((b"x" * 998 + b"\r\n") * 200)).code == 452
        wait_until(refused, 10, "452")
        holder.send(b".\r\n")
        assert holder.reply().code == 250
        assert other.submit(message((b"x" * 998 + b"\r\n") * 200)).code == 250


def test_limits__idle_timeout(stage):
    mux = stage.mux([stage.provider()], listeners=[{"idle_timeout": "1s"}])
    with Wire(mux.port()) as silent, Wire(mux.port()) as within:
        silent.greet()
        within.greet().envelope()
        within.command("DATA")
        within.send(b"half of a mess")
        assert [reply.code for reply in silent.rest()] == [421]
        assert [reply.code for reply in within.rest()] == [421]


# ---- the PROXY header ----

def proxy_v2(source, family=0x11, command=0x21, extra=b""):
    addresses = b"" if source is None else (socket.inet_aton(source) + socket.inet_aton("127.0.0.1") +
                                            struct.pack("!HH", 4000, 25))
    body = addresses + extra
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes((command, family)) + struct.pack("!H", len(body)) + body)


@pytest.fixture(scope="module")
def proxied(module_stage):
    """Two listeners: 127.0.0.1 must send a header, or may send none; users by the real address."""
    provider = module_stage.provider()
    trust = {"192.0.2.7/32": APP, "127.0.0.1/32": "local@example.com"}
    mux = module_stage.mux([provider], users=[{"email": APP, "upstreams": ["p0"]},
                                              {"email": "local@example.com", "upstreams": ["p0"]}],
                           listeners=[{"trust": trust, "proxy_protocol": ["127.0.0.1"],
                                       "auth": "required", "allow_insecure_auth": True},
                                      {"trust": trust}])
    return mux, provider


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\n", proxy_v2("192.0.2.7"),
    proxy_v2("192.0.2.7", extra=b"\x04\0\x03abc"),  # a TLV
], ids=["v1", "v2", "v2-tlv"])
@pytest.mark.parametrize("cut", [False, True])
def test_proxy_header__tells_the_client(proxied, header, cut):
    mux, provider = proxied
    with Wire(mux.port()) as wire:
        for part in ([header] if not cut else [bytes([octet]) for octet in header]):
            wire.send(part)
        assert wire.greet().submit(message()).code == 250
    assert b"[192.0.2.7]" in provider.taken[-1].added
    assert last_summary(mux, provider)["client"] == "192.0.2.7"


@pytest.mark.parametrize("header", [proxy_v2(None, command=0x20, family=0), b"PROXY UNKNOWN\r\n"],
                         ids=["v2-local", "v1-unknown"])
def test_proxy_header__local_keeps_the_real_address(proxied, header):
    mux, provider = proxied
    with Wire(mux.port()) as wire:
        wire.send(header)
        assert wire.greet().submit(message()).code == 250
    assert b"[127.0.0.1]" in provider.taken[-1].added


@pytest.mark.parametrize("octets", [
    b"EHLO direct.test\r\n", b"PROXY TCP4 192.0.2.7 127.0.0.1 4000\r\n", b"PROXY " + b"x" * 110,
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd", proxy_v2("192.0.2.7", command=0x11),
    proxy_v2("192.0.2.7", extra=b"\x04\xff\xff"), b"PROXY TCP4 999.0.2.7 127.0.0.1 4000 25\r\n",
], ids=["none", "short", "endless", "v2-length", "v2-version", "v2-tlv", "address"])
def test_proxy_header__what_is_wrong_closes(proxied, octets):
    mux, _ = proxied
    with Wire(mux.port(), seconds=20) as wire:
        wire.send(octets)
        assert not [reply for reply in wire.rest() if reply.code == 220]


def test_proxy_header__from_others_is_refused(proxied):
    mux, _ = proxied
    for nth, source in ((0, "127.0.0.9"), (1, "127.0.0.1")):
        for header in (b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\n", proxy_v2("192.0.2.7")):
            with Wire(mux.port(nth), source=source) as wire:
                wire.send(header + b"EHLO x\r\n")
                assert 250 not in [reply.code for reply in wire.rest()]


# ---- XCLIENT ----

@pytest.fixture(scope="module")
def filtered(module_stage):
    provider = module_stage.provider()
    mux = module_stage.mux([provider], users=[
        {"email": APP, "upstreams": ["p0"]}, {"email": "other@example.com", "upstreams": ["p0"]}],
        listeners=[{"trust": {"192.0.2.0/24": APP}, "xclient": ["127.0.0.1"], "auth": "required",
                    "allow_insecure_auth": True}])
    return mux, provider


def test_xclient__address_and_name_are_taken_over(filtered):
    mux, provider = filtered
    with Wire(mux.port()) as wire:
        assert "XCLIENT" in wire.greet().offers
        assert wire.command("XCLIENT NAME=real.test ADDR=192.0.2.9 HELO=helo.test").code == 220
        assert wire.ehlo("again.test").submit(message()).code == 250
    assert b"192.0.2.9" in provider.taken[-1].added
    assert last_summary(mux, provider)["client"] == "192.0.2.9"


def test_xclient__login_names_a_user(filtered):
    mux, _ = filtered
    with Wire(mux.port()) as wire:
        wire.greet()
        assert wire.command("XCLIENT ADDR=198.51.100.1 LOGIN=other@example.com").code == 220
        assert wire.ehlo().submit(message(mark="login")).code == 250
        assert wire.command("XCLIENT LOGIN=nobody@example.com").code == 550
    assert mux.summary(message_id="<login@example.com>")["user"] == "other@example.com"


def test_xclient__is_refused(filtered):
    mux, _ = filtered
    with Wire(mux.port(), source="127.0.0.9") as wire:
        assert "XCLIENT" not in wire.greet().offers
        assert wire.command("XCLIENT ADDR=192.0.2.9").code == 550
        assert wire.envelope().code == 530
    with Wire(mux.port()) as wire:
        wire.greet()
        assert wire.command("XCLIENT NAME=a+4").code == 501
        assert wire.command("XCLIENT ADDR=192.0.2.9").code == 220
        wire.ehlo().command("MAIL FROM:<a@example.com>")
        assert wire.command("XCLIENT ADDR=192.0.2.10").code == 503
