#!/usr/bin/python3
"""Writes the seeds of the fuzz target relay: the flights of each case of tests/wire/proxy, with its
options. Usage: relay_seeds.py (from anywhere)
"""
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parent.parent
TLS = [b"off", b"offered", b"required", b"implicit", b"passed"]
PHASES = [b"helo", b"auth", b"mail", b"rcpt", b"data", b"header", b"body", b"eom"]
FLAGS = {b"lmtp": 1, b"near": 2, b"allow_insecure_auth": 4, b"hold": 8, b"may_xclient": 0x40,
         b"xclient": 0x80}
NEWLINES = {b"reject": 0, b"normalize": 0x10, b"pass": 0x20}
VERDICTS = {b"refuse": 1, b"discard": 2, b"disconnect": 3, b"line": 4, b"add": 5}
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
GREETED = [(b"U", b"220 mx\r\n"), (b"C", b"EHLO c\r\n"),
           (b"U", b"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 PRDR\r\n")]
MAIL = [(b"C", b"MAIL FROM:<a@b>\r\n"), (b"U", b"250 ok\r\n"), (b"C", b"RCPT TO:<c@d>\r\n"),
        (b"U", b"250 ok\r\n")]


def unescape(text):
    def one(match):
        return bytes([int(match[1], 16)]) if match[1] else NAMED.get(match[2], match[2])

    return re.sub(rb"\\(?:x(..)|(.))", one, text, flags=re.DOTALL)


def read_option(header, rest):
    name, _, value = rest.partition(b" ")
    if name == b"client_tls":
        header[0] += TLS.index(value)
    elif name == b"upstream_tls":
        header[0] += 8 * TLS.index(value)
    elif name == b"bare_newline":
        header[1] |= NEWLINES[value]
    elif name == b"asks":
        header[2] |= sum(1 << PHASES.index(word) for word in value.split())
    else:
        header[1] |= FLAGS.get(name, 0)


def flights_of(line):
    if line in (b"greeted", b"mail"):
        return GREETED if line == b"greeted" else MAIL
    match = re.match(rb"([CU])(?:\*(\d+))?: ?(.*)", line, re.I | re.DOTALL)
    if not match:
        return []
    end = b"\r\n" if match[1].isupper() else b""
    return [(match[1].upper(), (unescape(match[3]) + end) * min(int(match[2] or 1), 300))]


def seed(lines):
    header = [0, 0, 0, 0]
    body, side = b"", b"U"
    for line in lines:
        word, _, rest = line.partition(b" ")
        if word == b"set":
            read_option(header, rest)
        elif word == b"ask:":
            header[3] = header[3] or VERDICTS.get(rest.split(b" -> ")[1].split(b" ")[0], 1)
        elif line == b"do: end client":
            body += b"\xfe"
        elif line == b"do: end upstream":
            body += b"\xfd"
        for of, octets in flights_of(line):
            body += b"" if of == side else b"\xff"
            body += bytes(octet for octet in octets if octet < 0xfd)
            side = of
    return bytes(header) + body


def main():
    folder = TESTS / "fuzz/corpus/relay"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((TESTS / "wire/proxy").glob("*.txt")):
        for case in re.split(rb"^== ", file.read_bytes(), flags=re.M)[1:]:
            name, *lines = case.split(b"\n")
            (folder / f"{file.stem}__{name.decode()}").write_bytes(seed(lines))


if __name__ == "__main__":
    main()
