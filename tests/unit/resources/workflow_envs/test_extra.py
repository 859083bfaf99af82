"""Without the extra ``workflow-envs``: everything else works, and what needs it names it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from egoworld_resources.settings import PROJECT
from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.errors import CondaFailed
from egoworld_resources.workflow_envs.extra import EXTRA

OWN = ("fastapi", "rattler", "python_multipart", "multipart")
"""Modules that nothing but the extra brings."""
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop().split(",")))  # as if they were not installed
import egoworld_assets.definitions
from egoworld_assets.cli.app import app
app(sys.argv[1:])
"""
NAMED = "it comes with the extra workflow-envs: pip install 'egoworld[workflow-envs]'"


def without_extra(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of the command line, after the definitions were loaded."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *command, ",".join(OWN)],
        env={**os.environ, "EGOWORLD_HOME": str(home), "EGOWORLD_STORE": "folder"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_graph_and_envs_of_uv_do_without_it(tmp_path: Path) -> None:
    done = without_extra(tmp_path, "env", "list")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_api_names_it(tmp_path: Path) -> None:
    done = without_extra(tmp_path, "env", "serve", "--port", "0")
    assert done.returncode == 1
    assert " ".join(done.stderr.split()) == f"error: fastapi is not installed; {NAMED}"


def test_conda_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "rattler"] or ["rattler"]:
        monkeypatch.setitem(sys.modules, module, None)
    conda = Rattler(tmp_path)
    for asks in (lambda: conda.parsed("ffmpeg"), lambda: conda.address("conda-forge"), lambda: conda.download({})):
        with pytest.raises(CondaFailed, match=r"rattler\S* is not installed; it comes with the extra workflow-envs"):
            asks()


def test_make_setup_installs_it() -> None:
    facts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert EXTRA in facts["optional-dependencies"]
    assert all(find_spec(module) for module in OWN)
