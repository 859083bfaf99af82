"""A short storm over the API of envs; `python -m tests.fabric_storm FOLDER` makes a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fabric_storm
from tests.torture import sized

SEED = 20261121


@pytest.mark.torture
def test_clients_at_random_with_kill_9_lose_nothing(tmp_path: Path, uv: Path) -> None:
    storm, problems = fabric_storm.run(tmp_path / "storm", uv, SEED, seconds=sized(12, 180), number=sized(8, 20))
    assert problems == [], f"seed {SEED}: {storm.answers}"
    assert storm.kills.total() > 0
    assert storm.answers["create", "ok"] > 0
