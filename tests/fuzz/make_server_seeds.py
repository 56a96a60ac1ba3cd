#!/usr/bin/env python3
"""Makes the seeds of the fuzz target session_server from the transcripts in tests/wire/server.

Writes tests/fuzz/corpus/session_server/<file>__<case>: an octet of options, one of verdicts, and
what the client sends, with 0xff where it waits. Run it after changing transcripts and check in
what it writes.
"""
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
WIRE = HERE.parent / "wire" / "server"
CORPUS = HERE / "corpus" / "session_server"
LARGEST = 900
# in the order of the bits in session_server.c
OPTIONS = ["lmtp", "normalize", "max_size", "xclient", "auth_required", "tls", "max_errors",
           "tls_required"]
HOOKS = ["mail", "rcpt", "data", "eom", "auth", "helo", "xclient"]
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0"}
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
INPUT = re.compile(r"([Cc])(?:\*(\d+))?:(?: (.*))?$")


def unescape(text: str) -> bytes:
    out, at = b"", 0
    for hit in ESCAPE.finditer(text):
        what = hit.group(1)
        out += text[at:hit.start()].encode()
        out += bytes([int(what[1:], 16)]) if len(what) == 3 else ESCAPES.get(what, what.encode())
        at = hit.end()
    return out + text[at:].encode()


def seed(lines: list[str]) -> bytes:
    options, hooks, sent = 0, 0, b""
    for line in lines:
        words = line.replace("*", "").split()
        if line.startswith("set ") and words[1] in OPTIONS:
            options |= 1 << OPTIONS.index(words[1])
        elif line.startswith("hook: ") and words[1] in HOOKS:
            hooks |= 1 << HOOKS.index(words[1])
        elif line == "wait":
            sent += b"\xff"
        elif hit := INPUT.match(line):
            end = b"\r\n" if hit.group(1) == "C" else b""
            sent += (unescape(hit.group(3) or "") + end) * int(hit.group(2) or 1)
    return bytes([options, hooks]) + sent


def main() -> None:
    CORPUS.mkdir(parents=True, exist_ok=True)
    for path in sorted(WIRE.glob("*.txt")):
        for case in path.read_text().split("\n== ")[1:]:
            name, *lines = case.splitlines()
            made = seed(lines)
            if len(made) <= LARGEST:
                (CORPUS / f"{path.stem}__{name.strip()}").write_bytes(made)


main()
