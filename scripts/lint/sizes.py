#!/usr/bin/python3
"""Measures files and functions and holds them to the limits. Usage: sizes.py [ROOT]

It relies on the layout of .clang-format: a function's braces stand alone in the first column. A
function is measured from the first line of its signature to its closing brace.
"""
import re
import statistics

import common

FILE_LIMIT = 700
FUNCTION_LIMIT = 80
AGGREGATE = re.compile(r"^(typedef\s+)?(static\s+|const\s+)*(struct|union|enum)\b[^()]*\{$")


def opens_body(lines, number):
    """Whether line `number` (from 0) holds the brace that opens a function's body."""
    line = lines[number].rstrip()
    if line == "{":
        before = next((text.rstrip() for text in reversed(lines[:number]) if text.strip()), "")
        return not before.endswith(("=", ",", ";"))
    unindented = line[:1].isalpha() or line[:1] == "_"
    return unindented and line.endswith(") {") and not AGGREGATE.match(line)


def signature(lines, number):
    """The first line of the signature whose body opens at line `number`."""
    first = number
    while first > 0:
        above = lines[first - 1].rstrip()
        if not above or above.startswith(("#", "}")) or above.endswith((";", "}", "\\")):
            break
        first -= 1
    return first


def name_of(lines, first, body):
    text = " ".join(lines[first : body + 1])
    match = re.search(r"(\w+)\s*\((?!\()", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", text))
    return match.group(1) if match else "?"


def functions(text):
    """(first line from 1, length, name) of each function; length None if it never closes."""
    lines = common.code_only(text).splitlines()
    number = 0
    while number < len(lines):
        if not opens_body(lines, number):
            number += 1
            continue
        first = signature(lines, number)
        name = name_of(lines, first, number)
        end = next((n for n in range(number + 1, len(lines)) if lines[n].startswith("}")), None)
        if end is None:
            yield first + 1, None, name
            return
        yield first + 1, end - first + 1, name
        number = end + 1


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def comment_share(texts):
    total = comments = 0
    for text in texts:
        for line, bare in zip(text.splitlines(), common.without_comments(text).splitlines()):
            total += bool(line.strip())
            comments += bare.rstrip() != line.rstrip()
    return round(100 * comments / total) if total else 0


def check(root):
    findings, lengths, sizes, texts = [], [], [], []
    for path in common.c_files(root, "src", "include"):
        text = common.read(root, path)
        texts.append(text)
        sizes.append(len(text.splitlines()))
        if sizes[-1] > FILE_LIMIT:
            what = f"{sizes[-1]} lines, the limit is {FILE_LIMIT}: split it by responsibility"
            findings.append((path, sizes[-1], what))
        for line, length, name in functions(text):
            if length is None:
                findings.append((path, line, f"{name}() never closes in column 1: run make fmt"))
                continue
            lengths.append((length, f"{name} in {path}"))
            if length > FUNCTION_LIMIT:
                what = f"{name}() has {length} lines, the limit is {FUNCTION_LIMIT}: split it"
                findings.append((path, line, what))
    return common.finish(findings, describe(lengths, sizes, texts))


def describe(lengths, sizes, texts):
    if not lengths:
        return "sizes: no function found"
    plain = [length for length, _ in lengths]
    longest, where = max(lengths)
    return (
        f"sizes: {len(plain)} functions, median {statistics.median(plain):g}, "
        f"90% {percentile(plain, 0.9)}, max {longest} ({where}); "
        f"{len(sizes)} files, median {statistics.median(sizes):g}, max {max(sizes)}; "
        f"{comment_share(texts)}% of lines with a comment"
    )


if __name__ == "__main__":
    common.main(check)
