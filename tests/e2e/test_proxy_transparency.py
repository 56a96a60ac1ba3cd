"""A session through the transparent proxy is octet for octet the session without it, but for the
exceptions that docs/proxy.md names: sessions by chance, good and bad, against a scripted server."""
import asyncio
import os

from dialogue_chance import Chance
from dialogue_run import Server, compare
from octet_sink import proxy_config, proxy_listener

SESSIONS, FIRST, SEED = (int(os.environ.get(name, default)) for name, default in (
    ("SESSIONS", "1000"), ("FIRST", "0"), ("SEED", "1")))
AT_A_TIME = 32


async def play_all(stage, folder):
    """Sessions of SMTP and LMTP, each at the server itself and behind the proxy."""
    servers = [await Server().start(), await Server(lmtp=True).start(str(folder / "lmtp.sock"))]
    loop = asyncio.get_running_loop()
    proxy = await loop.run_in_executor(None, stage.serve, proxy_config(
        proxy_listener(servers[0].address), proxy_listener(f"lmtp+unix:{servers[1].address}")))
    numbers, problems = iter(range(FIRST, FIRST + SESSIONS)), []

    async def player():
        for number in numbers:
            session = Chance(SEED, number)
            found = await compare(session, servers[session.lmtp], proxy.port(session.lmtp))
            problems.extend(f"session {number}: {one}" for one in found)

    await asyncio.gather(*(player() for _ in range(AT_A_TIME)))
    for server in servers:
        server.stop()
    return problems


def test_transparency__sessions_by_chance_are_the_same_through_the_proxy(stage, tmp_path):
    problems = asyncio.run(play_all(stage, tmp_path))
    assert not problems, f"SEED={SEED}, {len(problems)} problems:\n" + "\n".join(problems[:20])
