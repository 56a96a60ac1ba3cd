"""The sum of the tests counts every case once and never takes a dead suite for a good one."""
import json

import pytest


def summarize(tree, *suites):
    status, output = tree.run("summarize.py", *suites)
    return status, output.splitlines()[-1], output


def tap(tree, text, status=0):
    tree.write("a.tap", text)
    return summarize(tree, f"tap:a:{status}:a.tap")


def meson(tree, *tests, folder="build", listed=None):
    """A build folder as Meson leaves it: (name, TAP text or None, result, exit status) of each."""
    names = [test[0] for test in tests] if listed is None else listed
    protocols = {test[0]: "exitcode" if test[1] is None else "tap" for test in tests}
    intro = [
        {"name": name, "protocol": protocols.get(name, "tap"), "suite": ["smtpmux:unit"]}
        for name in names
    ]
    lines = []
    for name, output, result, status in tests:
        record = {"name": f"smtpmux:unit / {name}", "result": result, "returncode": status}
        if output is not None:
            record["stdout"] = output
        lines.append(json.dumps(record))
    tree.write(f"{folder}/meson-info/intro-tests.json", json.dumps(intro))
    tree.write(f"{folder}/meson-logs/testlog.json", "\n".join(lines))
    return folder


def test_tap__cases_are_counted(tree):
    assert tap(tree, "1..2\nok 1 - a\nok 2 - b\n")[:2] == (0, "2 passed, 0 failed")


def test_tap__failed_case_fails(tree):
    assert tap(tree, "1..2\nok 1 - a\nnot ok 2 - b\n", 1)[:2] == (1, "1 passed, 1 failed")


def test_tap__skips_are_told_apart(tree):
    text = "1..3\nok 1 - a\nok 2 - b # SKIP no vectors\nnot ok 3 # SKIP c\n"
    assert tap(tree, text)[:2] == (0, "1 passed, 0 failed, 2 skipped")


@pytest.mark.parametrize(
    "text",
    ["", "1..0\n", "1..3\nok 1 - a\nok 2 - b\n", "1..1\nok 1 - a\nok 2 - b\n",
     "1..1\nok 1 - a\nBail out! no memory\n", "hello\n"],
    ids=["empty", "none", "too few", "too many", "bail out", "no tap"],
)
def test_tap__incomplete_suite_fails(tree, text):
    status, last, _ = tap(tree, text)
    assert status == 1
    assert last.endswith(" 1 failed")


@pytest.mark.parametrize("died", [1, 2, 134, 139, -11])
def test_tap__status_that_no_case_explains_fails(tree, died):
    assert tap(tree, "1..1\nok 1 - a\n", died)[:2] == (1, "1 passed, 1 failed")


def test_tap__crash_behind_a_failed_case_is_a_failure_of_its_own(tree):
    assert tap(tree, "1..1\nnot ok 1 - a\n", 139)[1] == "0 passed, 2 failed"


def test_meson__cases_of_programs_are_counted(tree):
    folder = meson(tree, ("a", "1..2\nok 1 - x\nok 2 - y\n", "OK", 0), ("b", None, "OK", 0))
    assert summarize(tree, f"meson:m:0:{folder}")[:2] == (0, "3 passed, 0 failed")


def test_meson__skip_of_cmocka_is_no_failure(tree):
    folder = meson(tree, ("a", "1..2\nok 1 - x\nnot ok 2 # SKIP y\n", "FAIL", 0))
    assert summarize(tree, f"meson:m:1:{folder}")[:2] == (0, "1 passed, 0 failed, 1 skipped")


def test_meson__program_that_died_midway_fails(tree):
    folder = meson(tree, ("a", "1..3\nok 1 - x\n", "ERROR", -6))
    status, last, _ = summarize(tree, f"meson:m:1:{folder}")
    assert (status, last) == (1, "1 passed, 1 failed")


def test_meson__leak_found_after_the_last_case_fails(tree):
    folder = meson(tree, ("a", "1..1\nok 1 - x\n", "ERROR", 23))
    status, last, output = summarize(tree, f"meson:m:1:{folder}")
    assert (status, last) == (1, "1 passed, 1 failed")
    assert "a: ERROR, exit status 23" in output


def test_meson__status_that_no_case_explains_fails(tree):
    skips = ("b", "1..1\nnot ok 1 # SKIP y\n", "FAIL", 0)
    folder = meson(tree, ("a", "1..1\nok 1 - x\n", "FAIL", 1), skips)
    assert summarize(tree, f"meson:m:2:{folder}")[:2] == (1, "1 passed, 1 failed, 1 skipped")


@pytest.mark.parametrize("result", ["TIMEOUT", "INTERRUPT"])
def test_meson__program_that_was_stopped_fails(tree, result):
    folder = meson(tree, ("a", "1..1\nok 1 - x\n", result, 0))
    assert summarize(tree, f"meson:m:0:{folder}")[:2] == (1, "1 passed, 1 failed")


def test_meson__program_without_cases_fails(tree):
    folder = meson(tree, ("a", "", "OK", 0), ("b", "1..1\nok 1 - x\n", "OK", 0))
    assert summarize(tree, f"meson:m:0:{folder}")[:2] == (1, "1 passed, 1 failed")


def test_meson__listed_program_that_did_not_run_fails(tree):
    folder = meson(tree, ("a", "1..1\nok 1 - x\n", "OK", 0), listed=["a", "b"])
    status, _, output = summarize(tree, f"meson:m:0:{folder}")
    assert status == 1
    assert "b: did not run" in output


def test_meson__only_the_chosen_suite_must_have_run(tree):
    folder = meson(tree, ("a", "1..1\nok 1 - x\n", "OK", 0))
    intro = json.loads((tree.root / folder / "meson-info/intro-tests.json").read_text())
    intro.append({"name": "b", "protocol": "tap", "suite": ["smtpmux:other"]})
    tree.write(f"{folder}/meson-info/intro-tests.json", json.dumps(intro))
    assert summarize(tree, f"meson:m:0:{folder}#unit")[0] == 0
    assert summarize(tree, f"meson:m:0:{folder}")[0] == 1


def test_meson__unreadable_log_fails(tree):
    folder = meson(tree, ("a", "1..1\nok 1 - x\n", "OK", 0))
    (tree.root / folder / "meson-logs/testlog.json").unlink()
    assert summarize(tree, f"meson:m:0:{folder}")[:2] == (1, "0 passed, 1 failed")


def test_meson__case_of_two_builds_counts_once_at_its_worst(tree):
    good = meson(tree, ("a", "1..2\nok 1 - x\nok 2 - y\n", "OK", 0), folder="build")
    bad = meson(tree, ("a", "1..2\nok 1 - x\nnot ok 2 - y\n", "FAIL", 1), folder="build-asan")
    assert summarize(tree, f"meson:m:0:{good}", f"meson:n:1:{bad}")[:2] == (1, "1 passed, 1 failed")


def test_junit__cases_are_counted(tree):
    cases = (
        '<testcase classname="t" name="a"/>'
        '<testcase classname="t" name="b"><skipped/></testcase>'
        '<testcase classname="t" name="c"><failure/></testcase>'
        '<testcase classname="t" name="d"><error/></testcase>'
    )
    tree.write("j.xml", f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert summarize(tree, "junit:j:1:j.xml")[:2] == (1, "1 passed, 2 failed, 1 skipped")


def test_junit__without_a_case_or_a_file_fails(tree):
    tree.write("j.xml", "<testsuites><testsuite/></testsuites>")
    assert summarize(tree, "junit:j:5:j.xml")[:2] == (1, "0 passed, 1 failed")
    assert summarize(tree, "junit:j:0:gone.xml")[:2] == (1, "0 passed, 1 failed")


def test_nothing_at_all_fails(tree):
    assert summarize(tree)[:2] == (1, "0 passed, 1 failed")
