"""Each linter passes what is right and names file and line of what is wrong."""
import pytest


def lint(tree, script):
    return tree.run(f"lint/{script}.py")


# Includes


@pytest.fixture
def house(tree):
    tree.write("src/base/slice.h", "#include <stddef.h>\n")
    tree.write("src/proto/reply.h", '#include "base/slice.h"\n')
    tree.write("src/net/loop.h", "#include <uv.h>\n")
    tree.write("include/smx/proto.h", "#include <stdint.h>\n#include <smx/types.h>\n")
    return tree


def test_includes__down_and_same_folder_pass(house):
    house.write("src/net/tcp.c", '#include "loop.h"\n#include "base/slice.h"\n#include <uv.h>\n')
    status, output = lint(house, "includes")
    assert status == 0, output


def test_includes__up_is_refused(house):
    house.write("src/base/slice.c", '#include "base/slice.h"\n#include "proto/reply.h"\n')
    status, output = lint(house, "includes")
    assert status == 1
    assert 'src/base/slice.c:2: "proto/reply.h" points up' in output


def test_includes__up_by_climbing_is_refused(house):
    house.write("src/base/slice.c", '#include "../proto/reply.h"\n')
    status, output = lint(house, "includes")
    assert status == 1
    assert "src/base/slice.c:1:" in output


def test_includes__in_a_comment_or_string_do_not_count(house):
    text = '/*\n#include "proto/reply.h"\n*/\n// #include <uv.h>\nconst char *s = "#include <uv.h>";\n'
    house.write("src/base/slice.c", text)
    assert lint(house, "includes")[0] == 0


@pytest.mark.parametrize("header", ["uv.h", "openssl/ssl.h", "gsasl.h", "time.h", "errno.h", "sys/socket.h"])
@pytest.mark.parametrize("folder", ["proto", "session"])
def test_includes__no_io_in_the_protocol(house, folder, header):
    house.write(f"src/{folder}/a.c", f"#include <{header}>\n")
    status, output = lint(house, "includes")
    assert status == 1
    assert f"src/{folder}/a.c:1: <{header}> has no place" in output


def test_includes__no_io_in_the_protocol_through_another_header(house):
    house.write("src/base/clock.h", "#include <time.h>\n")
    house.write("src/session/a.c", '\n#include "base/clock.h"\n')
    status, output = lint(house, "includes")
    assert status == 1
    assert "src/session/a.c:2: src/base/clock.h -> <time.h> has no place" in output


def test_includes__no_io_in_the_protocol_through_a_chain_of_headers(house):
    house.write("src/base/time.h", "#include <time.h>\n")
    house.write("src/base/clock.h", '#include "time.h"\n')
    house.write("src/proto/a.c", '#include "base/clock.h"\n')
    status, output = lint(house, "includes")
    assert status == 1
    assert "src/proto/a.c:1: src/base/clock.h -> src/base/time.h -> <time.h>" in output


@pytest.mark.parametrize("header", ["uv.h", "openssl/ssl.h", "sys/types.h", "stdio.h"])
def test_includes__foreign_header_in_a_public_one_is_refused(house, header):
    house.write("include/smx/server.h", f"\n#include <{header}>\n")
    status, output = lint(house, "includes")
    assert status == 1
    assert f"include/smx/server.h:2: <{header}>" in output


def test_includes__unknown_folder_is_refused(house):
    house.write("src/misc/a.c", "\n")
    status, output = lint(house, "includes")
    assert status == 1
    assert "src/misc" in output


# Sizes


def function(lines, head="static int\nf(int a)"):
    """A function of so many lines, signature and braces included."""
    body = lines - head.count("\n") - 3
    return f"{head}\n{{\n" + "    a++;\n" * body + "}\n"


def test_sizes__eighty_lines_pass(tree):
    tree.write("src/base/a.c", "/* About. */\n\n" + function(80))
    status, output = lint(tree, "sizes")
    assert status == 0, output
    assert "max 80 (f in src/base/a.c)" in output


def test_sizes__eighty_one_lines_fail(tree):
    tree.write("src/base/a.c", "/* About. */\n\n" + function(81))
    status, output = lint(tree, "sizes")
    assert status == 1
    assert "src/base/a.c:3: f() has 81 lines" in output


def test_sizes__brace_on_the_line_of_the_signature_is_measured_too(tree):
    tree.write("src/base/a.c", "int g(void) {\n" + "    a();\n" * 90 + "}\n")
    status, output = lint(tree, "sizes")
    assert status == 1
    assert "g() has 92 lines" in output


def test_sizes__tables_and_structs_are_no_functions(tree):
    rows = "    {1, 2},\n" * 120
    tree.write("src/base/a.c", "static const int t[][2] = {\n" + rows + "};\n\nstruct s {\n" + "    int a;\n" * 90 + "};\n")
    status, output = lint(tree, "sizes")
    assert status == 0
    assert "no function" in output


def test_sizes__table_whose_brace_stands_alone_is_no_function(tree):
    tree.write("src/base/a.c", "static const int t[] =\n{\n" + "    1,\n" * 120 + "};\n")
    status, output = lint(tree, "sizes")
    assert status == 0, output


def test_sizes__braces_in_comments_and_strings_do_not_count(tree):
    text = function(10).replace("    a++;\n", '    s = "\\"}{";\n    /*\n{\n}\n    */\n', 1)
    tree.write("src/base/a.c", text + "\n" + function(81))
    status, output = lint(tree, "sizes")
    assert output.count("f() has") == 1
    assert "2 functions" in output and status == 1


def test_sizes__file_over_seven_hundred_lines_fails(tree):
    tree.write("src/base/a.h", "int a;\n" * 701)
    status, output = lint(tree, "sizes")
    assert status == 1
    assert "src/base/a.h:701: 701 lines" in output


def test_sizes__median_and_ninth_decile(tree):
    for number, lines in enumerate([5, 6, 7, 8, 9, 10, 11, 12, 13, 40]):
        tree.write(f"src/base/a{number}.c", function(lines))
    output = lint(tree, "sizes")[1]
    assert "10 functions, median 9.5, 90% 40, max 40" in output


# Forbidden functions and marks


@pytest.mark.parametrize("name", ["strcpy", "strcat", "sprintf", "vsprintf", "strtok", "gets", "atoi", "alloca"])
def test_banned__function_is_refused(tree, name):
    tree.write("src/base/a.c", f"\nint x = {name} (y);\n")
    status, output = lint(tree, "banned")
    assert status == 1
    assert f"src/base/a.c:2: {name}() is forbidden" in output


def test_banned__longer_names_comments_and_strings_pass(tree):
    tree.write("src/base/a.c", '/* no strcpy() */\nint x = snprintf(a, 1, "atoi(");\nint y = my_strcpy(b);\n')
    status, output = lint(tree, "banned")
    assert status == 0, output


@pytest.mark.parametrize("mark", ["TODO", "FIXME", "XXX", "HACK"])
def test_banned__mark_of_unfinished_work_is_refused(tree, mark):
    tree.write("include/smx/a.h", f"/* {mark}: later */\n")
    status, output = lint(tree, "banned")
    assert status == 1
    assert f"include/smx/a.h:1: {mark}" in output


# clang-tidy


@pytest.fixture
def build(tree):
    """A tree with one file, its compile command, and a clang-tidy that refuses `0 == 1`."""
    tree.write(".clang-tidy", "Checks: '-*,misc-redundant-expression'\nWarningsAsErrors: '*'\n")
    tree.write("src/base/a.h", "int f(int a);\n")
    tree.write("src/base/a.c", '#include "base/a.h"\nint f(int a)\n{\n    return a - 1;\n}\n')
    command = "cc -I../src -c ../src/base/a.c"
    entry = f'{{"directory": "{tree.root}/build-asan", "command": "{command}", "file": "../src/base/a.c"}}'
    tree.write("build-asan/compile_commands.json", f"[{entry}]")
    return tree


def test_tidy__clean_file_is_read_once_and_again_when_its_header_changes(build):
    assert "1 of 1 files read anew" in lint(build, "tidy")[1]
    assert "0 of 1 files read anew" in lint(build, "tidy")[1]
    build.write("src/base/a.h", "int f(int b);\n")
    status, output = lint(build, "tidy")
    assert status == 0, output
    assert "1 of 1 files read anew" in output


def test_tidy__finding_fails_again_and_again(build):
    build.write("src/base/a.c", '#include "base/a.h"\nint f(int a)\n{\n    return a - a;\n}\n')
    for _ in range(2):
        status, output = lint(build, "tidy")
        assert status == 1
        assert "src/base/a.c:4:" in output


def test_tidy__file_that_nothing_compiles_fails(build):
    build.write("src/base/b.c", "int g;\n")
    status, output = lint(build, "tidy")
    assert status == 1
    assert "src/base/b.c:1: is in no meson.build" in output
