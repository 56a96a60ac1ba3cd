#!/usr/bin/python3
"""Writes the seeds of the fuzz target session_client: what the server says in each case of
tests/wire/client, a flight for each turn. Usage: session_client_seeds.py (from anywhere)
"""
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parent.parent
POLICIES = {"off": 0, "if-offered": 1, "required": 2, "implicit": 3}
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b"s": b" "}


def unescape(text):
    def one(match):
        if match[1]:
            return match[2] * int(match[1])
        return bytes([int(match[3], 16)]) if match[3] else NAMED[match[4]]

    return re.sub(rb"\\(?:\*(\d+),(.)|x(..)|(.))", one, text, flags=re.DOTALL)


def seed(lines):
    options = habits = extra = 0
    recipients = 1
    flights = [b""]
    for line in lines:
        word, _, rest = line.partition(b" ")
        if word == b"options:":
            for name, number in POLICIES.items():
                options |= number if f"tls={name}".encode() in rest.split() else 0
            options |= 4 * (b"lmtp" in rest) + 8 * (b"authenticate" in rest)
            extra |= b"own=" in rest
        elif word == b"do:" and rest.startswith(b"begin"):
            recipients = min(3, max(1, rest.count(b" to=")))
            habits |= 2 * (b" hold" in rest) + 4 * (b" no-chunking" in rest) + 8 * (b"size=" in rest)
        match = re.match(rb"S(?:\*(\d+))?([:>]) ?(.*)", line, re.DOTALL)
        if match:
            end = b"\r\n" if match[2] == b":" else b""
            flights[-1] += (unescape(match[3]) + end) * int(match[1] or 1)
        elif flights[-1]:
            flights.append(b"")
    header = bytes([options | habits << 4, (recipients - 1) | 0x30, extra])
    return header + b"\xff".join(flight for flight in flights if flight)


def main():
    folder = TESTS / "fuzz/corpus/session_client"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((TESTS / "wire/client").glob("*.txt")):
        for case in re.split(rb"^== ", path.read_bytes(), flags=re.MULTILINE)[1:]:
            name, *lines = case.split(b"\n")
            octets = seed(lines)
            if len(octets) < 4096:
                (folder / f"{path.stem}__{name.decode()}").write_bytes(octets)


if __name__ == "__main__":
    main()
