"""Clients come back with their TLS session: whichever worker they meet, and behind a reload."""
import socket
import ssl

import pytest

from certificates import client_context
from harness import HOSTNAME
from test_reload import reload

TIMES = 40
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Client:
    """One that keeps the session of its latest connection."""

    def __init__(self, certificates, version, pair=None):
        self.context = client_context(certificates.ca, pair)
        self.context.minimum_version = self.context.maximum_version = version
        self.session = None

    def connect(self, port):
        """Is it resumed?"""
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            with self.context.wrap_socket(plain, server_hostname="localhost",
                                          session=self.session) as sock:
                assert sock.recv(4) == b"220 "  # the ticket of TLS 1.3 has come before it
                self.session = sock.session
                return sock.session_reused

    def is_resumed_always(self, port):
        return all(self.connect(port) for _ in range(TIMES))


ALIKE, ALIKE_TOO, OTHER, CLIENT_CA = range(4)


def make_daemon(stage, certificates, mode, count=4):
    """Two listeners alike, one with a further certificate, one that asks for the client's."""
    good, other = ({"cert": kind.cert, "key": kind.key} for kind in (certificates.good, certificates.other))
    listeners = [{"certificates": [good]}, {"certificates": [good]}, {"certificates": [good, other]},
                 {"certificates": [good], "client_ca": certificates.ca}]
    listeners = listeners[:count]
    provider = stage.provider()
    for listener in listeners:
        listener.update({"listen": "127.0.0.1:0", "tls": "implicit"})
    if mode == "mux":
        return stage.mux([provider], listeners=listeners, workers=4)
    for listener in listeners:
        listener.update({"mode": "proxy", "upstream": provider.url})
    return stage.serve({"hostname": HOSTNAME, "workers": 4, "listeners": listeners})


@pytest.fixture(scope="module", params=["mux", "proxy"])
def daemon(module_stage, certificates, request):
    return make_daemon(module_stage, certificates, request.param)


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption__each_worker_takes_the_ticket_of_each(daemon, certificates, version):
    client = Client(certificates, version)
    assert not client.connect(daemon.port(ALIKE))
    assert client.is_resumed_always(daemon.port(ALIKE))
    assert client.connect(daemon.port(ALIKE_TOO))


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption__other_certificates_are_another_session(daemon, certificates, version):
    client = Client(certificates, version)
    for port in (daemon.port(ALIKE), daemon.port(OTHER), daemon.port(ALIKE)):
        assert not client.connect(port)
        assert client.connect(port)


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption__is_no_way_round_a_client_certificate(daemon, certificates, version):
    client = Client(certificates, version)
    assert not client.connect(daemon.port(ALIKE))
    for _ in range(4):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"):
            client.connect(daemon.port(CLIENT_CA))
    shown = Client(certificates, version, certificates.client)
    assert not any(shown.connect(daemon.port(CLIENT_CA)) for _ in range(4))


@pytest.mark.parametrize("mode", ["mux", "proxy"])
@pytest.mark.parametrize("version", VERSIONS)
def test_resumption__goes_on_behind_a_reload(stage, certificates, mode, version):
    daemon = make_daemon(stage, certificates, mode, 1)
    client = Client(certificates, version)
    assert not client.connect(daemon.port())
    reload(daemon)
    assert client.is_resumed_always(daemon.port())
