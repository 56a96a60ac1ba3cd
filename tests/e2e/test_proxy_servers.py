"""Postfix, Exim and OpenSMTPD behind the transparent proxy: what they keep is what was sent."""
import json

import pytest

from harness import HOSTNAME
from mail_servers import Exim, OpenSmtpd, Postfix
from wire import Wire, message


@pytest.fixture(params=[Postfix, Exim, OpenSmtpd], ids=lambda kind: kind.__name__)
def server(request, certificates):
    made = request.param(certificates)
    yield made
    made.close()


def long_body():
    """Dots, empty lines, the longest lines, all octets that a line may have."""
    lines = [b".", b"..", b".x", b"", b" ", b"x" * 998, bytes(range(32, 127)), b"\xc3\xa9\xff\x80"]
    return b"\r\n".join(lines * 150 + [b"the end"]) + b"\r\n"


def kept_as_sent(kept, sent):
    """The server's own fields stand before what was sent; its lines end as the system's do."""
    return kept.endswith(sent.replace(b"\r\n", b"\n"))


def start(stage, server, certificates, audit):
    scheme = "smtp+tls" if server.tls else "smtp+notls"
    return stage.serve({"hostname": HOSTNAME, "workers": 1, "listeners": [
        {"listen": "127.0.0.1:0", "mode": "proxy", "audit": str(audit),
         "upstream": {"url": f"{scheme}://127.0.0.1:{server.port}", "ca": certificates.ca}}]})


def test_a_server_keeps_what_was_sent(stage, server, certificates, tmp_path):
    audit = tmp_path / "audit"
    proxy = start(stage, server, certificates, audit)
    for chunk, mark in ((None, "by-data"), (50_000, "by-bdat")):
        data = message(long_body(), mark)
        with Wire(proxy.port()) as client:
            client.greet()
            assert ("CHUNKING" in client.offers) == server.chunking
            assert "STARTTLS" not in client.offers
            if chunk and not server.chunking:
                continue
            reply = client.submit(data, parameters=" BODY=8BITMIME", chunk=chunk)
            assert reply.code == 250, reply
            assert client.command("QUIT").code == 221
        assert kept_as_sent(server.wait_message(mark.encode()), data)
    proxy.stop()
    told = [json.loads(line) for line in audit.read_text().splitlines()]
    relayed = [one for one in told if one["outcome"] == "relayed"]
    assert len(relayed) == 1 + server.chunking
    assert all((one["upstream_tls"] is not None) == server.tls for one in relayed)
