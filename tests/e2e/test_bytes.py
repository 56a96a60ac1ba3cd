"""Messages arrive byte for byte: 200 of them, from 1 byte to 20 MB, by DATA and by BDAT."""
import functools
import hashlib
import random

import pytest

from harness import APP, VECTORS
from provider import EXTENSIONS
from wire import Wire, message

MIB = 1 << 20


@functools.cache
def vectors():
    """Messages whose line ends are CRLF throughout."""
    yaml = pytest.importorskip("yaml")
    index = VECTORS / "eml" / "index.yml"
    if not index.exists():
        return []
    return [(entry["file"], (VECTORS / "eml" / entry["file"]).read_bytes(), entry["sha256"])
            for entry in yaml.load(index.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if entry["line_ends"] == "crlf" and not entry["nul"]]


def lines_of(rng, size, alphabet, longest):
    """About `size` octets of lines, many of which begin with dots."""
    out = bytearray()
    while len(out) < size:
        start = rng.choice((b"", b"", b".", b"..", b". ", b"...\r\n."))
        out += start + bytes(rng.choices(alphabet, k=rng.randrange(longest))) + b"\r\n"
    return bytes(out)


def undotted(rng, size):
    """Lines that go out as they came: dots stand anywhere but at their beginning."""
    lines = [b"x" + bytes(rng.choices(b"ab .\xff", k=rng.randrange(200))) + b"\r\n" for _ in range(50)]
    out = b"".join(rng.choices(lines, k=size // 100 + 2))[:size - 2]
    return (out[:-1] if out.endswith(b"\r") else out) + b"\r\n"


def generated():
    rng = random.Random(5321)
    plain, octets = b"abc .,-=+\t", bytes(set(range(1, 256)) - {10, 13})
    tricky = [b"\r\n", b".\r\n", b"..\r\n", b"\r\n.\r\n", b"x\r\n", b"\r\n\r\n", b".\r\n.\r\n..\r\n",
              b"Subject: only a header\r\n", b"not a header\r\nSubject: x\r\n", b"A: b\r\n\r\n.",
              b": empty name\r\n\r\nbody\r\n", b"x"]
    made = [(f"tricky-{i}", data) for i, data in enumerate(tricky)]
    for i, size in enumerate((10, 100, 1000, 4095, 4096, 4097, 8192, 16384, 65535, 65536, 65537)):
        made.append((f"plain-{size}", message(lines_of(rng, size, plain, 78), mark=f"g{i}")))
        made.append((f"octets-{size}", message(lines_of(rng, size, octets, 998), mark=f"o{i}")))
    for around in (998, 1024, 4096, 8192, 65536):
        for off in range(-3, 4):
            made.append((f"dot-at-{around + off}", b"a" * (around + off) + b"\r\n.\r\n" + b"b\r\n"))
    # 256 KiB is where a message goes to a file.
    for i, size in enumerate((262_143, 262_144, 262_145, 300_000, MIB, 3 * MIB)):
        made.append((f"file-{size}", message(lines_of(rng, size, octets, 200), mark=f"f{i}")))
    for i, size in enumerate((100, 4096, 16_384, 16_385, 65_536, 102_400, 262_144, 300_000, MIB - 9)):
        made.append((f"undotted-{size}", message(undotted(rng, size), mark=f"u{i}")))
    made.append(("undotted-5-mb", message(undotted(rng, 5 * MIB))))
    made.append(("last-dot", message(undotted(rng, 400_000) + b".\r\n")))
    block = lines_of(rng, MIB, octets, 400)
    made.append(("5-mb", message(block * 5)))
    made.append(("20-mb", message(block * 20)))
    for i in range(200 - len(made)):
        size = int(10 ** rng.uniform(0, 5))
        made.append((f"random-{i}", message(lines_of(rng, size, octets, 300), mark=f"r{i}")))
    return made


@functools.cache
def cases():
    made = [(name, data) for name, data, _ in vectors()]
    return made + generated()


@pytest.fixture(scope="module")
def providers(module_stage):
    """One takes BDAT, the other only DATA."""
    return [module_stage.provider(),
            module_stage.provider(extensions=[word for word in EXTENSIONS if word != "CHUNKING"])]


@pytest.fixture(scope="module")
def mux(module_stage, providers):
    return module_stage.mux(
        providers, users=[{"email": APP, "upstreams": ["p0"]},
                          {"email": "data@example.com", "upstreams": ["p1"]}],
        listeners=[{}, {"trust": {"127.0.0.0/8": "data@example.com"}}])


BDAT, DATA = 0, 1


def send_all(mux, provider, nth, messages, chunk=None):
    """Sends all on one connection; the provider's messages, in the same order."""
    before = len(provider.messages)
    with Wire(mux.port(nth)) as wire:
        wire.greet()
        for name, data in messages:
            reply = wire.submit(data, chunk=chunk, parameters=" BODY=8BITMIME")
            assert reply.code == 250, (name, reply)
    return provider.messages[before:]


def differences(messages, arrived):
    """Names of the messages that are not what was sent, behind one Received field."""
    assert len(messages) == len(arrived)
    return [name for (name, data), one in zip(messages, arrived)
            if hashlib.sha256(data).hexdigest() != one.sha256]


def test_vectors__are_there_and_unharmed():
    found = vectors()
    if not found:
        pytest.skip(f"no vectors in {VECTORS}")
    assert len(found) > 60
    assert all(hashlib.sha256(data).hexdigest() == sha256 for _, data, sha256 in found)


def whole_lines(messages):
    """What DATA can carry."""
    return [(name, data) for name, data in messages if data.endswith(b"\r\n")]


@pytest.mark.parametrize("nth", [BDAT, DATA], ids=["to-bdat", "to-data"])
def test_bytes__by_data(mux, providers, nth):
    messages = whole_lines(cases())
    assert len(messages) >= 190
    assert not differences(messages, send_all(mux, providers[nth], nth, messages))


@pytest.mark.parametrize("nth", [BDAT, DATA], ids=["to-bdat", "to-data"])
@pytest.mark.parametrize("chunk", [4096, 100 * MIB])
def test_bytes__by_bdat(mux, providers, nth, chunk):
    """A message without a line end at its end gets one where the provider takes DATA only."""
    messages = [(name, data) for name, data in cases() if len(data) < MIB]
    expected = messages if nth == BDAT else [
        (name, data if data.endswith(b"\r\n") else data + b"\r\n") for name, data in messages]
    assert not differences(expected, send_all(mux, providers[nth], nth, messages, chunk))


@pytest.mark.parametrize("chunk", [1, 7])
def test_bytes__in_tiny_chunks(mux, providers, chunk):
    messages = [(name, data) for name, data in cases() if len(data) < 300][:30]
    assert not differences(messages, send_all(mux, providers[BDAT], BDAT, messages, chunk))


def test_bytes__bdat_relayed_by_data_is_stuffed(mux, providers):
    data = b".x\r\n..\r\n.\r\nlast\r\n"
    (one,) = send_all(mux, providers[DATA], DATA, [("dots", data)], 5)
    assert one.octets.endswith(b"\r\n..x\r\n...\r\n..\r\nlast\r\n") and one.original == data


def test_bytes__nothing_bare_ever_reached_a_provider(providers, mux):
    send_all(mux, providers[DATA], DATA, [("one", message())])
    for provider in providers:
        for one in provider.messages:
            assert one.data.count(b"\r") == one.data.count(b"\n") == one.data.count(b"\r\n")


def test_bytes__an_empty_message_by_bdat(mux, providers):
    (one,) = send_all(mux, providers[BDAT], BDAT, [("empty", b"")], 1)
    assert one.original == b"" and one.chunked


def test_bytes__a_message_octet_by_octet(mux, providers):
    """However the client's octets are cut, the message is the same."""
    data = message(b".\r\n..\r\n.x\r\n")
    before = len(providers[BDAT].messages)
    with Wire(mux.port(BDAT)) as wire:
        wire.greet()
        assert wire.envelope() is None
        assert wire.command("DATA").code == 354
        for octet in data.replace(b"\r\n.", b"\r\n..") + b".\r\n":
            wire.send(bytes([octet]))
        assert wire.reply().code == 250
    assert providers[BDAT].messages[before].original == data
