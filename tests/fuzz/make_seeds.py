#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets of smx/proto.h from the transcripts in tests/wire/proto.

Writes tests/fuzz/corpus/<target>/<case>: the case's input, at most MOST files a target, none over
LARGEST octets. What is named found_* there is left alone: the fuzzer found it. Run this after
changing transcripts and check in what it writes.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
WIRE = HERE.parent / "wire" / "proto"
MOST, LARGEST = 40, 600

# codec of the transcript -> target
TARGETS = {
    "dot-decode": "dot", "dot-encode": "dot", "newline-check": "bdat", "bdat": "bdat",
    "reply": "reply", "reply-write": "reply", "capabilities": "reply", "proxy": "proxy",
    "xclient": "proxy", "command": "command", "line-limit": "command", "mail": "params",
    "rcpt": "params", "mail-write": "params", "rcpt-write": "params", "path": "path",
    "mailbox": "path", "domain": "path", "address": "path", "network": "path",
    "xtext-decode": "encodings", "xtext-encode": "encodings", "base64-decode": "encodings",
    "base64-encode": "encodings",
}
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", '"': b'"', "\\": b"\\"}
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\*(\d+))?')
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")


def unescape(text: str) -> bytes:
    out, at = b"", 0
    for hit in ESCAPE.finditer(text):
        out += text[at:hit.start()].encode()
        what = hit.group(1)
        out += bytes([int(what[1:], 16)]) if what[0] == "x" and len(what) == 3 else ESCAPES[what]
        at = hit.end()
    return out + text[at:].encode()


def value(text: str) -> bytes:
    if not text.startswith('"'):
        return text.encode()
    return b"".join(unescape(hit.group(1)) * int(hit.group(2) or 1)
                    for hit in STRING.finditer(text))


def cases():
    for path in sorted(WIRE.glob("*.txt")):
        name, fields, last = "", {}, ""
        for line in [*path.read_text().splitlines(), "# case: "]:
            if line.startswith("# case:"):
                if name:
                    yield name, fields
                name, fields = line.split(":", 1)[1].strip(), {}
            elif line.startswith(" "):
                fields[last] += " " + line.strip()
            elif line and not line.startswith("#"):
                last, text = line.split(":", 1)
                fields[last] = text.strip()


def main() -> int:
    seeds: dict[str, dict[str, list[tuple[str, bytes]]]] = {}
    for name, fields in cases():
        content = value(fields["in"])
        codec = fields["codec"]
        if codec in TARGETS and len(content) <= LARGEST:
            seeds.setdefault(TARGETS[codec], {}).setdefault(codec, []).append((name, content))
    for target, codecs in sorted(seeds.items()):
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.name.startswith("found_"):
                continue  # what the fuzzer found stays
            old.unlink()
        # Each codec gets its share, evenly spread over its cases; equal contents count once.
        share, seen = MOST // len(codecs), set()
        for of_codec in codecs.values():
            for name, content in of_codec[::-(-len(of_codec) // share)]:
                if content not in seen:
                    (folder / name).write_bytes(content)
                seen.add(content)
        print(f"{target}: {len(list(folder.iterdir()))} seeds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
