#!/usr/bin/python3
"""Sees that no include points up. Usage: includes.py [ROOT]

- A folder of src/ includes itself and the folders before it (common.FOLDERS), no other.
- A public header includes only the language's own headers and smx/*.
- proto/ and session/ do no I/O: none of the headers of the outside world, not even through a
  header of the project.
"""
import re

import common

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
LANGUAGE = {"stddef.h", "stdint.h", "stdbool.h", "stdarg.h"}
OUTSIDE = re.compile(r"^(uv\.h|uv/.*|openssl/.*|gsasl.*|ares.*|time\.h|errno\.h|sys/.*)$")
PURE = {"proto", "session"}


def includes(root, path):
    """(line, name, quoted) for every include of a file."""
    text = common.without_comments(common.read(root, path))
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start(2)) + 1, match.group(2), match.group(1) == '"'


def resolve(root, path, name, quoted):
    """The project's file that an include names, or None for a foreign one."""
    near = [path.parent / name] if quoted else []
    for candidate in near + [common.Path("src", name), common.Path("include", name)]:
        if (root / candidate).is_file():
            return candidate
    return None


def outside(root, path, seen):
    """The chain of files from `path` to a header of the outside world, or None."""
    seen.add(path)
    for _, name, quoted in includes(root, path):
        target = resolve(root, path, name, quoted)
        if target is None and OUTSIDE.match(name):
            return [f"<{name}>"]
        if target is not None and target not in seen:
            chain = outside(root, target, seen)
            if chain:
                return [str(target)] + chain
    return None


def check_source(root, path):
    folder = path.parts[1]
    if folder not in common.FOLDERS:
        yield path, 1, f"folder src/{folder} is not in the list of the design: add it to common.py"
        return
    below = common.FOLDERS[: common.FOLDERS.index(folder) + 1]
    for line, name, quoted in includes(root, path):
        target = resolve(root, path, name, quoted)
        if ".." in name.split("/"):
            yield path, line, f'"{name}" climbs: name the header from src/, as "base/slice.h"'
        elif target and target.parts[0] == "src" and target.parts[1] not in below:
            yield path, line, (
                f'"{name}" points up: {folder}/ may include only {", ".join(below)}; '
                "move the code up, or pass in what it needs"
            )
        if folder in PURE:
            yield from check_pure(root, path, folder, (line, name, target))


def check_pure(root, path, folder, include):
    line, name, target = include
    chain = None
    if target is None and OUTSIDE.match(name):
        chain = [f"<{name}>"]
    elif target is not None:
        chain = outside(root, target, {path})
        chain = chain and [str(target)] + chain
    if chain:
        yield path, line, (
            f"{' -> '.join(chain)} has no place in {folder}/, which does no I/O: "
            "let the caller pass the value in"
        )


def check_public(root, path):
    for line, name, _ in includes(root, path):
        if name not in LANGUAGE and not name.startswith("smx/"):
            yield path, line, f"<{name}> in a public header: forward-declare the type instead"


def check(root):
    findings = []
    sources = [p for p in common.c_files(root, "src") if len(p.parts) > 2]
    headers = common.c_files(root, "include")
    for path in sources:
        findings += check_source(root, path)
    for path in headers:
        findings += check_public(root, path)
    return common.finish(findings, f"includes: {len(sources) + len(headers)} files looked at")


if __name__ == "__main__":
    common.main(check)
