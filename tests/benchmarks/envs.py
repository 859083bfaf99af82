"""(c) A model env made from its lock with a warm cache, against bare uv making the same."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.checkout import checkout_catalog, checkout_uv
from egoworld_resources.settings import PROJECT
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, middle

TURNS = 5


def run(place: Place) -> Iterator[Measure]:
    """A middling env and the largest."""
    names = ["dex_retarget"] if place.quick else ["mediapipe", "transnet"]
    for name in names:
        yield measure(place, name)


def measure(place: Place, name: str) -> Measure:
    """Both sides in turn after one build of each that fills cache and ledger and leaves a root where envs were made."""
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(2 if place.quick else 1 + TURNS):
        mine.append(built(place.root / f"envs-{name}", name))
        theirs.append(bare(place.root / f"bare-{name}-{turn}", name))
    return Measure(
        "c", f"warm env '{name}'", middle(mine[1:]), middle(theirs[1:]), "s", "uv venv + uv pip sync", at_most=1.2
    )


def built(root: Path, name: str) -> float:
    """Seconds of our builder in a root that holds no such env."""
    uv = checkout_uv(PROJECT)
    builder = EnvBuilder(root, checkout_catalog(PROJECT), uv.program, uv.cache)
    began = time.perf_counter()
    builder.ensure(name)
    seconds = time.perf_counter() - began
    shutil.rmtree(root / name)
    return seconds


def bare(folder: Path, name: str) -> float:
    """Seconds of uv with the same lock, cache and way of linking."""
    uv = checkout_uv(PROJECT)
    folder.mkdir()
    lock = checkout_catalog(PROJECT).lock_path(name)
    began = time.perf_counter()
    uv.run(["venv", "--relocatable", "--allow-existing", "--python", sys.executable, folder], cwd=folder)
    sync = ["pip", "sync", "--python", folder / "bin" / "python", "--link-mode", "hardlink", "--only-binary", ":all:"]
    uv.run([*sync, lock], cwd=folder)
    seconds = time.perf_counter() - began
    shutil.rmtree(folder)
    return seconds
