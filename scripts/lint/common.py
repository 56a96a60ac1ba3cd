"""What the lint scripts share: the tree's C files, and their text without comments and strings."""
import re
import sys
from pathlib import Path

# DESIGN 1: a folder of src/ may include itself and what stands before it.
FOLDERS = (
    "base proto session mail sasl hook net server middleware client proxy "
    "store upstream mux spool plugin admin app"
).split()

NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL
)


def c_files(root, *folders):
    """The .c and .h files under the named folders, sorted, as paths relative to the root."""
    found = []
    for folder in folders:
        found += [p for p in Path(root, folder).rglob("*.[ch]") if p.is_file()]
    return sorted(p.relative_to(root) for p in found)


def read(root, path):
    return Path(root, path).read_text(encoding="utf-8", errors="replace")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    """The same text, line for line, with comments, strings and character constants blanked."""
    return NOT_CODE.sub(blank, text)


def without_comments(text):
    """The same text with its comments blanked; strings stay."""
    return NOT_CODE.sub(lambda m: blank(m) if m.group(0)[0] == "/" else m.group(0), text)


def finish(findings, summary):
    """Prints `file:line: what is wrong: what to do` for each finding; the exit status."""
    for path, line, text in findings:
        print(f"{path}:{line}: {text}")
    print(summary)
    return 1 if findings else 0


def root_of(arguments):
    return Path(arguments[1] if len(arguments) > 1 else ".")


def main(check):
    sys.exit(check(root_of(sys.argv)))
