#!/usr/bin/python3
"""Finds functions that the style forbids and marks of unfinished work. Usage: banned.py [ROOT]"""
import re

import common

# What to write instead.
FUNCTIONS = {
    "strcpy": "memcpy with a known length, or a buffer",
    "strcat": "a buffer",
    "sprintf": "snprintf, or a buffer",
    "vsprintf": "vsnprintf, or a buffer",
    "strtok": "the slice functions of base/",
    "gets": "fgets or read",
    "atoi": "a parser that reports errors and overflow",
    "alloca": "an arena",
}
CALL = re.compile(r"\b(" + "|".join(FUNCTIONS) + r")\s*\(")
MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def check(root):
    findings = []
    paths = common.c_files(root, "src", "include")
    for path in paths:
        text = common.read(root, path)
        for number, line in enumerate(common.code_only(text).splitlines(), 1):
            for match in CALL.finditer(line):
                name = match.group(1)
                findings.append((path, number, f"{name}() is forbidden: use {FUNCTIONS[name]}"))
        for number, line in enumerate(text.splitlines(), 1):
            for match in MARK.finditer(line):
                what = f"{match.group(1)} marks unfinished work: finish it, or open an issue"
                findings.append((path, number, what))
    return common.finish(findings, f"banned: {len(paths)} files looked at")


if __name__ == "__main__":
    common.main(check)
