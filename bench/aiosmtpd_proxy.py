#!/usr/bin/python3
"""A proxy as one writes it with aiosmtpd: the message is taken, then handed on by smtplib over a
connection that the session keeps.

    bench/aiosmtpd_proxy.py PORT SINK_PORT [CERT KEY]
"""
import asyncio
import smtplib
import ssl
import sys

from aiosmtpd.smtp import SMTP

MOST_OCTETS = 100_000_000


class Upstream:
    def __init__(self, port: int):
        self.port = port

    async def handle_DATA(self, _server, session, envelope) -> str:
        if not hasattr(session, "upstream"):
            session.upstream = smtplib.SMTP("127.0.0.1", self.port, "bench.example")
        session.upstream.sendmail(envelope.mail_from, envelope.rcpt_tos, envelope.original_content)
        return "250 OK"

    async def handle_QUIT(self, _server, session, _envelope) -> str:
        if hasattr(session, "upstream"):
            session.upstream.quit()
        return "221 Bye"


async def main(port: int, sink: int, *certificate: str) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    loop, upstream = asyncio.get_running_loop(), Upstream(sink)
    server = await loop.create_server(
        lambda: SMTP(upstream, data_size_limit=MOST_OCTETS, hostname="bench.example", loop=loop),
        "127.0.0.1", port, ssl=context, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
