#!/usr/bin/python3
"""Compares smtpmux with its peers, in one interleaved run on this machine, and writes the report.

    bench/run.py [--quick] [--rounds N] [--seconds S] [--only NAME,NAME] [--work WORK,WORK] [--output FOLDER]

Works: W1 W2 W3 W4, TLS, "TLS resumed", "AUTH new", "AUTH kept", sessions, latency, idle, far. The report
(RESULTS.md, RESULTS.svg) of a whole run goes into bench/, that of a part of it into build/bench/. Everything runs
on loopback and is stopped at the end, also by Ctrl-C.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

import idle
import peers
import plot
import report
import works
from loads import Run

QUICK = ("W1", "W2", "W3", "W4", "TLS", "latency", "idle")
MESSAGES = {work.name: work for work in works.MESSAGES}
# What is more than a table of messages: how it is measured, and shown.
SPECIAL = {
    "sessions": (works.run_sessions, report.sessions),
    "latency": (works.run_latency, report.latency),
    "idle": (works.run_idle, report.idle),
    "far": (works.run_far, report.far),
}
EVERY = (*MESSAGES, *SPECIAL)
ROUNDS, QUICK_ROUNDS, SECONDS, QUICK_SECONDS = 5, 3, 1.5, 0.8


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the essentials, within three minutes")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} when quick")
    parser.add_argument("--seconds", type=float, help=f"of each run: {SECONDS}, or {QUICK_SECONDS}")
    parser.add_argument("--only", help="names of proxies, parted by commas")
    parser.add_argument("--work", help="names of works, parted by commas")
    parser.add_argument("--output", type=pathlib.Path, help="folder of the report")
    options = parser.parse_args(arguments)
    if options.output is None:
        part = options.quick or options.only or options.work
        options.output = peers.ROOT / ("build/bench" if part else "bench")
    return options


def words_of(parser_value: str | None, all_words: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    if not parser_value:
        return default
    chosen = tuple(parser_value.split(","))
    unknown = [word for word in chosen if word not in all_words]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(all_words)}")
    return chosen


def measure(name: str, plan: works.Plan) -> tuple[object, str]:
    """The figures of one work, and its section."""
    if name in MESSAGES:
        measured = works.run_messages(plan, MESSAGES[name])
        return measured, report.messages(MESSAGES[name], measured) if measured else ""
    run, show = SPECIAL[name]
    measured = run(plan)
    return measured, show(measured) if measured else ""


def as_json(value: object) -> object:
    if isinstance(value, Run):
        return dataclasses.asdict(value)
    raise TypeError(type(value))


def write(options: argparse.Namespace, plan: works.Plan, results: dict, sections: list[str]) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    picture = "RESULTS.svg" if results.get("sessions") else ""
    if picture:
        (options.output / picture).write_text(plot.sessions_svg(results["sessions"]))
    (options.output / "RESULTS.md").write_text(report.whole(plan, results, sections, picture))
    (peers.ROOT / "build/bench/results.json").write_text(json.dumps(results, indent=1, default=as_json))
    print(report.aims(results) + f"\nwritten: {options.output}/RESULTS.md")


def interrupted(_number, _frame):
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    options = options_of(arguments)
    every = tuple(peer.name for peer in peers.ALL)
    names = words_of(options.only, every,
                     tuple(p.name for p in peers.ALL if p.quick) if options.quick else every)
    wanted = words_of(options.work, EVERY, QUICK if options.quick else EVERY)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    idle.raise_limit()
    results, sections, began = {}, [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smtpmux-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        plan = works.Plan(names, options.quick, options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
                          options.seconds or (QUICK_SECONDS if options.quick else SECONDS), folder)
        try:
            for name in wanted:
                results[name], section = measure(name, plan)
                if section:
                    sections.append(section)
                    print(section, flush=True)
                print(f"({name}: {time.monotonic() - began:.0f} s so far)", file=sys.stderr)
        except KeyboardInterrupt:
            print("interrupted: all programs are stopped, no report is written", file=sys.stderr)
            return 130
    write(options, plan, results, sections)
    return 0


if __name__ == "__main__":
    sys.exit(main())
