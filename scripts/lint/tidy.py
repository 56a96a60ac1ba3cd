#!/usr/bin/python3
"""Runs clang-tidy over src/, and only where something changed. Usage: tidy.py [BUILD_FOLDER]

A file that was found clean leaves a stamp in build/.tidy-cache, named by the hash of the file, the
project's headers that it includes, its compile command, .clang-tidy and clang-tidy's version.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common
import includes

ROOT = Path(".")
CACHE = Path("build/.tidy-cache")
# The commands are those of gcc, some of whose options clang does not know.
OPTIONS = ["--quiet", "--extra-arg=-Wno-unknown-warning-option"]


def closure(path, seen):
    """The file and all project headers that it includes, directly or not."""
    if path not in seen:
        seen.add(path)
        for _, name, quoted in includes.includes(ROOT, path):
            target = includes.resolve(ROOT, path, name, quoted)
            if target is not None:
                closure(target, seen)
    return seen


def stamp(path, command, base):
    digest = hashlib.sha256(base)
    digest.update(command.encode())
    for part in sorted(closure(path, set())):
        digest.update(f"\0{part}\0".encode() + part.read_bytes())
    return CACHE / digest.hexdigest()


def tidy(path, mark):
    """None if the file is clean, else what clang-tidy says about it."""
    run = subprocess.run(
        ["clang-tidy", "-p", str(CACHE), *OPTIONS, str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
    )
    if run.returncode == 0 and not run.stdout.strip():
        mark.touch()
        return None
    said = run.stdout.strip() or run.stderr.strip()
    return re.sub(r"(?m)^(\S*?/)?\.\./(?=src/|include/)", "", said.replace(os.getcwd() + "/", ""))


def commands(build):
    """The compile command of each file of src/: its first, if it is compiled more than once, which is
    written to the cache's own list, since clang-tidy reads a file by all commands that it finds."""
    found = {}
    for entry in json.loads(Path(build, "compile_commands.json").read_text()):
        path = Path(os.path.relpath(Path(entry["directory"], entry["file"])))
        if path.parts[0] == "src" and path.suffix == ".c":
            found.setdefault(path, entry)
    Path(CACHE, "compile_commands.json").write_text(json.dumps(list(found.values())))
    return {path: entry["command"] for path, entry in found.items()}


def main(build="build-asan"):
    CACHE.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    base = version + Path(".clang-tidy").read_bytes() + " ".join(OPTIONS).encode()
    known = commands(build)
    left_out = [p for p in common.c_files(ROOT, "src") if p.suffix == ".c" and p not in known]
    for path in left_out:
        print(f"{path}:1: is in no meson.build, so nothing compiles it: name it there or remove it")
    stamps = {path: stamp(path, command, base) for path, command in known.items()}
    due = [path for path, mark in stamps.items() if not mark.exists()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda path: tidy(path, stamps[path]), due))
    findings = [text for text in results if text is not None]
    print("\n".join(findings + [f"clang-tidy: {len(due)} of {len(stamps)} files read anew"]))
    return 1 if findings or left_out or not stamps else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
