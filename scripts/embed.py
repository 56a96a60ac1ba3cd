#!/usr/bin/env python3
"""Writes the profiles as one C file: embed.py OUTPUT profiles/*.yaml"""
import sys
from pathlib import Path


def quoted(line):
    escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    return '"' + escaped.encode("ascii").decode() + '\\n"'


def main(output, *files):
    lines = ["/* Made by scripts/embed.py from profiles/. */", '#include "app/profiles.h"', "",
             "const profile_text profile_texts[] = {"]
    for file in sorted(files):
        path = Path(file)
        lines.append(f'    {{"{path.stem}",')
        lines += ["     " + quoted(line) for line in path.read_text(encoding="utf-8").splitlines()]
        lines.append("    },")
    lines += ["    {NULL, NULL},", "};", ""]
    Path(output).write_text("\n".join(lines), encoding="utf-8")


main(*sys.argv[1:])
