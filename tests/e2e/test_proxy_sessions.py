"""Many sessions at once through the transparent proxy; bench/idle.py does the same with 9,900 and
measures what one costs."""
import sys
from pathlib import Path

import pytest

from harness import HOSTNAME

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import idle  # noqa: E402  pylint: disable=wrong-import-position

SESSIONS = 500


@pytest.fixture
def upstream():
    made = idle.Upstream()
    yield made
    made.close()


@pytest.mark.parametrize("tls", [False, True])
def test_each_of_many_idle_sessions_still_works(stage, certificates, upstream, tls):
    listener = {"listen": "127.0.0.1:0", "mode": "proxy", "upstream": f"smtp://127.0.0.1:{upstream.port}"}
    if tls:
        listener |= {"tls": "implicit",
                     "certificates": [{"cert": certificates.good.cert, "key": certificates.good.key}]}
    proxy = stage.serve({"hostname": HOSTNAME, "workers": 2, "listeners": [listener]})
    sessions = idle.Sessions(proxy.port(), idle.any_certificate() if tls else None)
    try:
        sessions.open(SESSIONS)
        assert sessions.prove() == 0
    finally:
        sessions.close()
