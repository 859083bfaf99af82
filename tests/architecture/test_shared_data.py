"""Missing test data is a skip at home and a failure in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("ci", "end"), [("", "1 skipped"), ("true", "1 error")])
def test_missing_data_is_a_skip_at_home_and_a_failure_in_ci(
    tmp_path: Path, repository: Path, ci: str, end: str
) -> None:
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    for file in (repository / "tests").glob("*.py"):
        shutil.copy(file, tests)
    shutil.copy(repository / "pyproject.toml", tests.parent)
    (tests / "test_one.py").write_text("def test_one(shared_data):\n    pass\n")
    program = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    outer = {**os.environ, "CI": ci}
    done = subprocess.run(program, cwd=tests.parent, env=outer, capture_output=True, text=True, check=False)
    assert end in done.stdout.splitlines()[-1], done.stdout + done.stderr
    assert "no test data at" in done.stdout or "CI needs the test data at" in done.stdout
