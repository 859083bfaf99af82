"""Arrow gives memory back to the system, in our own processes and in the runners that they start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.running.process import Process

ASKED = "import {}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.parametrize(
    "module", ["egoworld_assets.definitions", "egoworld_assets.cli", "egoworld_resources.making.workbench"]
)
def test_arrow_is_loaded_with_the_allocator_of_the_c_library(module: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", ASKED.format(module)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path, env={})
    assert done.stdout.strip() == "system"


def test_what_the_user_chose_stays(tmp_path: Path) -> None:
    program = [sys.executable, "-c", ASKED.format("egoworld_resources")]
    chosen = {"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path, env=chosen)
    assert done.stdout.strip() == "mimalloc"


def test_a_runner_is_started_with_it_too(tmp_path: Path) -> None:
    environment = Process(Path(sys.executable), tmp_path).environment()
    program = [sys.executable, "-c", ASKED.format("egoworld_runner")]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert done.stdout.strip() == "system"
