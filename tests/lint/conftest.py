"""The scripts under test live in scripts/ and are plain programs: each runs on a tree made here."""
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Tree:
    def __init__(self, root):
        self.root = root

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def run(self, script, *arguments):
        """(exit status, standard output) of scripts/SCRIPT run in this tree."""
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), *arguments],
            cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)
