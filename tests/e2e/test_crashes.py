"""The flow under random faults: kill -9 of whatever runs, and full disks. See tests/faults.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.torture import sized

FAULTS = sized(15, 60)
SEED = os.environ.get("FAULT_SEED", "20261121")
"""Decides which faults come after how long; what they hit depends on the machine too."""


@pytest.mark.torture
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_nothing_is_lost_doubled_or_half_written_whatever_is_killed_and_whatever_is_full(tmp_path: Path) -> None:
    print(f"FAULT_SEED={SEED}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", str(tmp_path / "rounds"), SEED, str(FAULTS)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads(done.stdout)
    print(json.dumps(status, indent=2))
    assert status["problems"] == []
    assert sum(status["faults"].values()) >= FAULTS
    assert status["rounds"] >= 2, "the flow got through again and again"
    assert {"runner", "keeper", "step", "everything"} <= status["faults"].keys()
    if status["mounts"]:
        pytest.skip(f"no fault but a full disk is untried: this kernel lets us mount nothing ({status['mounts']})")
    assert {"store full", "scratch full"} <= status["faults"].keys()
