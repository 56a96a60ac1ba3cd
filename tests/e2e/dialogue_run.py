"""Plays sessions against the scripted server of dialogue.py over TCP, many at a time."""
import asyncio
import dataclasses
import os
import re
import zlib

from dialogue import Dialogue, REPLY_END, passed, unchanged

SESSION_SECONDS = 30
BANNER = re.compile(rb"220 dialogue\.test (\d+)\r\n")


class Connection(asyncio.Protocol):
    """The server's side. Its replies leave in pieces of any size."""

    def __init__(self, server, lmtp):
        self.server, self.dialogue = server, Dialogue(lmtp)
        self.gone = asyncio.get_running_loop().create_future()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections.append(self)
        transport.write(b"220 dialogue.test %d\r\n" % (len(self.server.connections) - 1))

    def data_received(self, data):
        if self.dialogue.over:
            return
        said = self.dialogue.feed(data)
        cut = zlib.crc32(said) % (2 * len(said) + 1)  # half of them whole
        self.transport.write(said[:cut])
        self.transport.write(said[cut:])
        if self.dialogue.over:
            self.transport.write_eof()

    def connection_lost(self, _problem):
        if not self.gone.done():
            self.gone.set_result(None)


class Server:
    """SMTP on TCP, or LMTP on a Unix socket. `address` is a port or a path."""

    def __init__(self, lmtp=False):
        self.lmtp, self.connections = lmtp, []
        self.server = self.address = None

    def _connection(self):
        return Connection(self, self.lmtp)

    async def start(self, path=None):
        loop = asyncio.get_running_loop()
        if path:
            self.server = await loop.create_unix_server(self._connection, path, backlog=512)
        else:
            self.server = await loop.create_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.address = path or self.server.sockets[0].getsockname()[1]
        return self

    def stop(self):
        self.server.close()
        for connection in self.connections:
            connection.transport.abort()


@dataclasses.dataclass
class Played:
    """What both ends saw of a session."""
    client: bytes
    server: bytes


class Client(asyncio.Protocol):
    """Counts the replies that came."""

    def __init__(self):
        self.input, self.seen, self.replies = bytearray(), 0, 0
        self.ended, self.wanted, self.woken = False, 0, None
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.input += data
        while True:
            end = self.input.find(b"\r\n", self.seen)
            if end < 0:
                break
            self.replies += REPLY_END.fullmatch(self.input, self.seen, end + 2) is not None
            self.seen = end + 2
        self._wake()

    def eof_received(self):
        self.ended = True
        self._wake()

    def connection_lost(self, _problem):
        self.eof_received()

    def _wake(self):
        woken, done = self.woken, self.ended or self.replies >= self.wanted
        if woken and done:
            self.woken = None
            if not woken.done():
                woken.set_result(None)

    async def wait(self, replies):
        """Until so many replies came, or no more will."""
        self.wanted = replies
        if not self.ended and self.replies < replies:
            self.woken = asyncio.get_running_loop().create_future()
            await self.woken

    async def write(self, segment):
        start = 0
        for cut in [*segment.cuts, len(segment.octets)]:
            self.transport.write(segment.octets[start:cut])
            start = cut
            await asyncio.sleep(0)  # so that the piece leaves alone


async def _connect(address):
    loop = asyncio.get_running_loop()
    if isinstance(address, str):
        return await loop.create_unix_connection(Client, address)
    return await loop.create_connection(Client, "127.0.0.1", address)


async def _play(session, address, server, counts):
    _, client = await _connect(address)
    try:
        await client.wait(1)
        banner = BANNER.match(client.input)
        assert banner, bytes(client.input[:200])
        for segment, count in zip(session.segments, counts):
            if client.ended:
                break
            await client.write(segment)
            if segment.wait:
                await client.wait(1 + count)
        if not client.ended and client.transport.can_write_eof():
            client.transport.write_eof()
        await client.wait(1 << 60)
        connection = server.connections[int(banner.group(1))]
        await connection.gone
        return Played(bytes(client.input[banner.end():]), connection.dialogue.took)
    finally:
        client.transport.abort()


def expect(session, rule):
    """What the server makes of a session, what becomes of its steps by a rule, up to the end, and how
    many replies have come by the end of each segment."""
    dialogue, steps, counts, seen = Dialogue(session.lmtp), [], [], 0
    for segment in session.segments:
        dialogue.feed(segment.octets)
        while seen < len(dialogue.steps) and not (steps and steps[-1].ends):
            steps.append(rule(dialogue.steps[seen]))
            seen += 1
        counts.append(sum(one.replies for one in steps))
    return dialogue, steps, counts


def client_problem(steps, client):
    at = 0
    for one in steps:
        end = one.match(client, at)
        if end is None:
            return f"to {one.heard[:200]!r} the client heard {client[at:at + 300]!r}, not {one.said!r:.300}"
        at = end
    return f"the client heard too much: {client[at:at + 300]!r}" if at < len(client) else None


def server_problem(dialogue, steps, server, exact):
    """`exact` for a server that the client has before it. Of what is not whole, or stands behind the
    end of a session, a proxy may have passed a part."""
    heard = b"".join(one.heard for one in steps)
    rest = b"".join(one.took for one in dialogue.steps[len(steps):])
    rest += b"" if dialogue.over else dialogue.input
    extra = server[len(heard):]
    if server.startswith(heard) and (rest == extra if exact else rest.startswith(extra)):
        return None
    at = len(os.path.commonprefix((heard + rest, server)))
    return f"the server heard, from octet {at} on, {server[at:at + 200]!r}, not {(heard + rest)[at:at + 200]!r}"


async def compare(session, server, proxy):
    """Plays a session at the server itself and at the proxy in front of it. The problems."""
    problems = []
    for name, address, rule in (("without the proxy", server.address, unchanged),
                                ("through the proxy", proxy, passed)):
        dialogue, steps, counts = expect(session, rule)
        try:
            played = await asyncio.wait_for(_play(session, address, server, counts), SESSION_SECONDS)
        except asyncio.TimeoutError:
            problems.append(f"{name}: it did not end, {counts}")
            continue
        for problem in (client_problem(steps, played.client),
                        server_problem(dialogue, steps, played.server, rule is unchanged)):
            if problem:
                problems.append(f"{name}: {problem}")
    return problems
