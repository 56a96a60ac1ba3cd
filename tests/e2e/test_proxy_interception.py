"""The transparent proxy in the way of clients that know nothing of it: three hosts in network
namespaces of the test's own, the middle one a router that hands SMTP to the proxy by REDIRECT or by
TPROXY. Skipped with the reason where the kernel forbids it."""
import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from harness import HOSTNAME, PEERS
from provider import Provider
from wire import Wire, message

CLIENT, SERVER = "10.201.1.2", "10.201.2.2"
ROUTER_TO_CLIENT, ROUTER_TO_SERVER = "10.201.1.1", "10.201.2.1"
LISTEN = 2525
NUMBER = itertools.count()

REDIRECT = f"""table ip smtpmux {{
  chain prerouting {{
    type nat hook prerouting priority -100
    iifname "toclient" ip daddr {SERVER} meta l4proto tcp redirect to :{LISTEN}
  }}
}}"""
TPROXY = f"""table ip smtpmux {{
  chain prerouting {{
    type filter hook prerouting priority -150
    meta l4proto tcp socket transparent 1 meta mark set 1 accept
    iifname "toclient" ip daddr {SERVER} meta l4proto tcp tproxy to :{LISTEN} meta mark set 1 accept
  }}
}}"""


def run(*words, text=None):
    done = subprocess.run([str(word) for word in words], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {done.stdout.strip()}")


class Forbidden(Exception):
    """The kernel has no such thing, or does not let us."""


class Hosts:
    """The client, the router and the server, with their links."""

    def __init__(self):
        mark = f"smx{os.getpid()}-{next(NUMBER)}"
        self.client, self.router, self.server = (f"{mark}{end}" for end in "crs")
        self.names = []
        for name in (self.client, self.router, self.server):
            try:
                run("ip", "netns", "add", name)
            except OSError as problem:
                raise Forbidden(problem) from None
            self.names.append(name)
            self.at(name, "ip", "link", "set", "lo", "up")
        self.link(self.client, CLIENT, "toclient", ROUTER_TO_CLIENT)
        self.link(self.server, SERVER, "toserver", ROUTER_TO_SERVER)
        self.at(self.router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def link(self, host, address, router_end, router_address):
        try:
            self.at(host, "ip", "link", "add", "name", "uplink", "type", "veth", "peer", "name",
                    router_end, "netns", self.router)
        except OSError as problem:
            raise Forbidden(problem) from None
        for name, device, own in ((host, "uplink", address), (self.router, router_end, router_address)):
            self.at(name, "ip", "address", "add", f"{own}/24", "dev", device)
            self.at(name, "ip", "link", "set", device, "up")
        self.at(host, "ip", "route", "add", "default", "via", router_address)

    def at(self, name, *words, text=None):
        run("ip", "netns", "exec", name, *words, text=text)

    def rules(self, text):
        self.at(self.router, PEERS / "bin/nft", "-f", "-", text=text)

    def deliver_marked(self):
        self.at(self.router, "ip", "rule", "add", "fwmark", "1", "lookup", "100")
        self.at(self.router, "ip", "route", "add", "local", "default", "dev", "lo", "table", "100")

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def within(name, function):
    """Calls it on a thread that is in this namespace; sockets that it opens stay there."""
    outcome = []

    def enter():
        try:
            with open(f"/run/netns/{name}", "rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns")
            outcome.append((function(), None))
        except BaseException as error:  # pylint: disable=broad-except
            outcome.append((None, error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


@pytest.fixture
def hosts():
    if shutil.which("ip") is None or not (PEERS / "bin/nft").exists():
        pytest.skip("ip (iproute2) or nft (scripts/peers.sh test) is not there")
    with contextlib.ExitStack() as stack:
        made = Hosts.__new__(Hosts)
        made.names = []
        stack.callback(lambda: made.close())
        try:
            made.__init__()
        except Forbidden as problem:
            pytest.skip(f"no network namespaces here: {problem}")
        yield made


def apply(hosts, rules):
    try:
        hosts.rules(rules)
    except OSError as problem:
        pytest.skip(f"the kernel has no such rules: {problem}")


def start(stage, hosts, listen=f"0.0.0.0:{LISTEN}", **listener):
    return stage.serve({"hostname": HOSTNAME, "workers": 2, "listeners": [
        {"listen": listen, "mode": "proxy", "upstream": "smtp://original-dst", **listener}]},
        prefix=("ip", "netns", "exec", hosts.router))


@pytest.fixture
def provider(hosts):
    made = within(hosts.server, lambda: Provider(host=SERVER))
    yield made
    made.close()


def send(hosts, port):
    """One message from the client's host to the server; the client's address as it sees it itself."""
    with within(hosts.client, lambda: Wire(port, host=SERVER, seconds=20)) as client:
        assert client.greet().submit(message(mark="intercepted")).code == 250
        assert client.command("QUIT").code == 221
        return client.sock.getsockname()


def expect_relayed(proxy, provider, peer):
    assert len(provider.taken) == 1 and provider.taken[0].session.peer == peer
    assert proxy.wait("message", client=CLIENT)


def test_redirect_goes_where_the_client_wanted(stage, hosts, provider):
    apply(hosts, REDIRECT)
    proxy = start(stage, hosts)
    send(hosts, provider.port)
    expect_relayed(proxy, provider, ROUTER_TO_SERVER)


def test_redirect_keeps_the_client_s_address(stage, hosts, provider):
    """Bound to the client's address by IP_TRANSPARENT; what comes back is taken off the wire."""
    apply(hosts, REDIRECT + """
table ip back {
  chain prerouting {
    type filter hook prerouting priority -150
    iifname "toserver" meta l4proto tcp socket transparent 1 meta mark set 1 accept
  }
}""")
    hosts.deliver_marked()
    proxy = start(stage, hosts, client_address="transparent")
    send(hosts, provider.port)
    expect_relayed(proxy, provider, CLIENT)


@pytest.mark.parametrize("address, peer", [("own", ROUTER_TO_SERVER), ("transparent", CLIENT)])
def test_tproxy_goes_where_the_client_wanted(stage, hosts, provider, address, peer):
    apply(hosts, TPROXY)
    hosts.deliver_marked()
    proxy = start(stage, hosts, transparent=True, client_address=address)
    send(hosts, provider.port)
    expect_relayed(proxy, provider, peer)


def listening(hosts):
    return within(hosts.server, lambda: socket.create_server((SERVER, 0)))


def accepted(server):
    server.settimeout(20)
    sock, _ = server.accept()
    sock.settimeout(20)
    return sock


@pytest.mark.parametrize("rules, transparent", [(REDIRECT, False), (TPROXY, True)],
                         ids=["redirect", "tproxy"])
def test_proxy_header_names_the_intercepted_client(stage, hosts, rules, transparent):
    apply(hosts, rules)
    hosts.deliver_marked()
    start(stage, hosts, transparent=transparent, client_address="proxy-header")
    with listening(hosts) as server:
        port = server.getsockname()[1]
        with within(hosts.client, lambda: Wire(port, host=SERVER, seconds=20)) as client:
            with accepted(server) as sock:
                octets = b""
                while len(octets) < 28:
                    octets += sock.recv(28 - len(octets))
                assert octets[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                source, destination, *ports = struct.unpack("!4s4sHH", octets[16:])
                assert socket.inet_ntoa(source) == CLIENT
                assert socket.inet_ntoa(destination) == SERVER
                assert ports == [client.sock.getsockname()[1], port]


def test_xclient_names_the_intercepted_client(stage, hosts):
    apply(hosts, REDIRECT)
    start(stage, hosts, client_address="xclient")
    with listening(hosts) as server:
        port = server.getsockname()[1]
        with within(hosts.client, lambda: Wire(port, host=SERVER, seconds=20)) as client:
            with accepted(server) as sock, sock.makefile("rb") as lines:
                sock.sendall(b"220 up.test ESMTP\r\n")
                assert client.reply().code == 220
                client.send("EHLO c.test\r\n")
                assert lines.readline() == b"EHLO c.test\r\n"
                sock.sendall(b"250-up.test\r\n250 XCLIENT NAME ADDR PORT\r\n")
                own = client.sock.getsockname()[1]
                assert lines.readline() == f"XCLIENT ADDR={CLIENT} PORT={own}\r\n".encode()


def test_a_client_that_was_not_redirected_is_refused(stage, hosts):
    """Where it wanted to go is the proxy itself."""
    proxy = start(stage, hosts)
    with within(hosts.client, lambda: Wire(LISTEN, host=ROUTER_TO_CLIENT, seconds=20)) as client:
        reply = client.reply()
        assert (reply.code, reply.enhanced) == (421, "4.4.6")
        assert client.is_closed()
    assert proxy.wait("upstream_failed", phase="loop")


def test_a_rule_that_catches_the_proxy_itself_is_a_loop(stage, hosts):
    """The router's own connections are redirected too: the first one is known for our own."""
    apply(hosts, REDIRECT + f"""
table ip own {{
  chain output {{
    type nat hook output priority -100
    ip daddr {SERVER} meta l4proto tcp redirect to :{LISTEN}
  }}
}}""")
    proxy = start(stage, hosts, max_connections=100)
    for _ in range(10):
        with within(hosts.client, lambda: Wire(25, host=SERVER, seconds=20)) as client:
            reply = client.reply()
            assert (reply.code, reply.enhanced) == (421, "4.4.6")
            assert client.is_closed()
    proxy.wait("upstream_failed", count=10, phase="loop", client=ROUTER_TO_SERVER)
    assert len(proxy.find("upstream_failed")) < 20 and not proxy.find("connection_refused")
    assert proxy.process.poll() is None
