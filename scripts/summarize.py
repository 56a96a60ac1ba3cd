#!/usr/bin/python3
"""Adds up the single test cases of several suites and prints `N passed, N failed[, N skipped]`.

Usage: summarize.py KIND:NAME:STATUS:PATH...
  meson  PATH is a build folder in which `meson test` has run; FOLDER#SUITE: only that suite
  junit  PATH is a JUnit file (pytest --junitxml)
  tap    PATH is a file of TAP lines
STATUS is the exit status of the program that wrote it.

A suite counts as failed if it died, lost cases that it announced, ended with a status that its
cases do not explain, or has no case at all. A case that ran in several builds counts once, and
passes only if it passed wherever it ran. Exit status 1 unless all is well.
"""
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
GRAVITY = {SKIPPED: 0, PASSED: 1, FAILED: 2}
TAP_CASE = re.compile(r"^(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*?)\s*(?:#\s*(\w+)\s*(.*))?$")
TAP_PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*(SKIP)\b.*)?", re.IGNORECASE)


class Suite:
    """The cases of one suite by name, and what is wrong with the suite itself."""

    def __init__(self, name):
        self.name = name
        self.cases = {}
        self.faults = []

    def add(self, case, outcome):
        while case in self.cases:
            case += "'"
        self.cases[case] = outcome

    def count(self, outcome):
        own = list(self.cases.values()).count(outcome)
        return own + (len(self.faults) if outcome == FAILED else 0)

    def close(self, status, most=1):
        """Sees that the exit status (0 to `most`) fits the cases, and that there are any."""
        unexplained = status and not self.count(FAILED)
        if not 0 <= status <= most or unexplained:
            self.faults.append(f"ended with status {status}, which no failed case explains")
        if not self.cases and not self.faults:
            self.faults.append("ran no test")


def read_tap(suite, text, prefix=""):
    """Takes the cases of TAP lines; cmocka 1.1 writes a skipped case as `not ok 2 # SKIP name`."""
    announced = seen = plans = 0
    for line in text.splitlines():
        plan = TAP_PLAN.match(line)
        if plan:
            plans += 1
            announced += int(plan.group(1))
            if plan.group(2) and not int(plan.group(1)):
                suite.add(prefix + "(all)", SKIPPED)
            continue
        if line.startswith("Bail out!"):
            suite.faults.append(prefix + line)
            continue
        case = TAP_CASE.match(line)
        if not case:
            continue
        seen += 1
        failed, number, name, directive, rest = case.groups()
        outcome = FAILED if failed else PASSED
        if (directive or "").upper() == "SKIP":
            outcome = SKIPPED
            name = name or rest
        suite.add(prefix + (name or f"case {number or seen}"), outcome)
    if plans and announced != seen:
        suite.faults.append(f"{prefix}announced {announced} cases and ran {seen}")


def read_meson(suite, path):
    """Takes every test that the build folder lists; `meson test` logs each in one line of JSON."""
    folder, _, only = path.partition("#")
    listed = json.loads(Path(folder, "meson-info/intro-tests.json").read_text())
    due = {
        test["name"]: test["protocol"]
        for test in listed
        if not only or only in {label.rsplit(":", 1)[-1] for label in test["suite"]}
    }
    for line in Path(folder, "meson-logs/testlog.json").read_text().splitlines():
        record = json.loads(line)
        name = record["name"].rsplit(" / ", 1)[-1]
        add_meson_test(suite, name, due.pop(name, "unlisted"), record)
    suite.faults.extend(f"{name}: did not run" for name in due)


def add_meson_test(suite, name, protocol, record):
    """Reads the cases itself: Meson 1.0 takes cmocka's way of writing a skip for a failure."""
    result, status = record["result"], record.get("returncode", 0)
    output = record.get("stdout", "")
    if protocol != "tap" and not re.search(r"^1\.\.\d+", output, re.MULTILINE):
        outcome = {"OK": PASSED, "EXPECTEDFAIL": PASSED, "SKIP": SKIPPED}.get(result, FAILED)
        suite.add(name, outcome)
        return
    cases, failed = len(suite.cases), suite.count(FAILED)
    read_tap(suite, output, name + ": ")
    if suite.count(FAILED) > failed:
        return
    if result not in ("OK", "SKIP", "FAIL") or (status != 0 and result != "SKIP"):
        suite.faults.append(f"{name}: {result}, exit status {status}")
    elif len(suite.cases) == cases:
        suite.faults.append(f"{name}: printed no case")


def read_tap_file(suite, path):
    read_tap(suite, Path(path).read_text())


def read_junit(suite, path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        outcome = PASSED
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = FAILED
        elif case.find("skipped") is not None:
            outcome = SKIPPED
        suite.add(f"{case.get('classname')}.{case.get('name')}", outcome)


def read_suite(kind, name, status, path):
    suite = Suite(name)
    read = {"meson": read_meson, "junit": read_junit, "tap": read_tap_file}[kind]
    try:
        read(suite, path)
    except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
        suite.faults.append(f"left no readable result: {error}")
    if kind == "meson" and suite.count(SKIPPED) and 0 < status < 125:
        status = 0  # the number of programs that Meson takes for failed: see add_meson_test
    suite.close(status, most=124 if kind == "meson" else 1)
    return suite


def merge(suites):
    """Every case once, at its gravest; a fault of a suite is a failed case of its own."""
    merged = {}
    for kind, suite in suites:
        for case, outcome in suite.cases.items():
            key = (kind if kind == "meson" else suite.name, case)
            if GRAVITY[outcome] >= GRAVITY[merged.get(key, SKIPPED)]:
                merged[key] = outcome
        for number, _ in enumerate(suite.faults):
            merged[(suite.name, "fault", number)] = FAILED
    outcomes = list(merged.values())
    return [outcomes.count(kind) for kind in (PASSED, FAILED, SKIPPED)]


def main(arguments):
    suites = []
    for argument in arguments:
        kind, name, status, path = argument.split(":", 3)
        suites.append((kind, read_suite(kind, name, int(status), path)))
    print()
    for _, suite in suites:
        counts = ", ".join(f"{suite.count(kind)} {kind}" for kind in (PASSED, FAILED, SKIPPED))
        print(f"{suite.name:<12} {counts}")
        for case, outcome in suite.cases.items():
            if outcome == FAILED:
                print(f"  FAILED {case}")
        for fault in suite.faults:
            print(f"  FAILED {fault}")
    passed, failed, skipped = merge(suites)
    if not passed and not failed:
        failed = 1
        print("  FAILED nothing was tested")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


def self_check():
    """Suites that must never count as success, checked before every run."""
    bad = ["", "1..2\nok 1 - a\n", "1..1\nnot ok 1 - a\n", "1..0\n", "ok 1 - a\nBail out! x\n"]
    for text in bad:
        suite = Suite("bad")
        read_tap(suite, text)
        suite.close(0)
        assert merge([("tap", suite)])[1] > 0, f"would pass: {text!r}"
    dead = Suite("dead")
    read_tap(dead, "1..1\nok 1 - a\n")
    dead.close(139)
    assert merge([("tap", dead)]) == [1, 1, 0], "a crash would pass"
    assert read_suite("junit", "gone", 0, "/nonexistent").count(FAILED) == 1, "no result would pass"


if __name__ == "__main__":
    self_check()
    sys.exit(main(sys.argv[1:]))
