"""A home with everything made of two videos, made once for all workers; tests take copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from egoworld_resources.leases.locks import locked
from tests.made_graph import SERVED, Installation
from tests.made_up import video


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation that is fresh, for ``Installation.copy_of``; nobody writes into it."""
    ours = tmp_path_factory.getbasetemp()
    root = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    folder = root / "made_home"
    with locked(root / "made_home.lock"):
        if not (root / "made_home.whole").exists():
            made = Installation(folder)
            paths = [video(folder / "a.mp4"), video(folder / "b.mp4", shots=(9, 9))]
            made.make("ingest", *map(str, paths))
            assert {step["asset"] for step in made.plan()["steps"]} == {"videos", "clips", *SERVED, "episodes"}
            made.make("refresh")
            assert len(made.runs()) == 22
            (root / "made_home.whole").touch()
    return folder
