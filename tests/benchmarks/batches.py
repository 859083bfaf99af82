"""(e) Seconds per video as a batch grows: a real model on very short videos, and a model that does nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, middle, settings
from tests.made_up import add_env

SIZES = (1, 8, 64)
TURNS = {1: 3, 8: 3, 64: 1}
RUNNER = '''
"""A model that looks at nothing."""

from dataclasses import dataclass

from egoworld_runner import Runner
from egoworld_runner.tables import Int, Row


@dataclass(frozen=True)
class Idle_(Row):
    table = "idle"
    frame: Int


class Idle(Runner):
    writes = (Idle_,)

    def run(self, clip, inputs, params):
        yield Idle_(clip.start_frame)
'''
IDLE = Stage("idle", env="idle", inputs=("videos", "clips"))


def run(place: Place) -> Iterator[Measure]:
    """Batches of videos that were never made before, small ones several times over."""
    sizes = (1, 2, 4) if place.quick else SIZES
    turns = dict.fromkeys(sizes, 1) if place.quick else TURNS
    bench = Workbench(settings(place.home("batches"), extra_envs=(idle_env(place.root / "more" / "envs"),)))
    keys = arrived(place, bench, sum(size * turns[size] for size in sizes))
    for stage in (stages()["videos"], stages()["clips"]):
        bench.make(stage, keys, "benchmark")
    for stage, what in ((IDLE, "a model that does nothing"), (stages()["hand_poses"], "hand_poses on 1 s videos")):
        left = iter(keys)
        costs = {n: middle([cost(bench, stage, list(islice(left, n))) for _ in range(turns[n])]) for n in sizes}
        for size in sizes[:-1]:
            against = f"in a batch of {size}"
            goal = 1.1 if size > 1 else 1.0
            told = f"cost per video in a batch of {sizes[-1]}, {what}"
            yield Measure("e", told, costs[sizes[-1]], costs[size], "s", against, at_most=goal)


def idle_env(envs: Path) -> Path:
    """A model env that does nothing, beside the checkout's own."""
    return add_env(envs, "idle", "Idle", RUNNER, params={}).parent


def arrived(place: Place, bench: Workbench, count: int) -> list[str]:
    """This number of videos with equal pictures and different bytes, taken into the store."""
    sample = place.sample(1, 1.0, 320, 180)
    copies = [place.copy(sample, place.root / "batches", f"{n}.mp4") for n in range(count)]
    return [Arrivals(bench.store).take(path).video for path in copies]


def cost(bench: Workbench, stage: Stage, videos: list[str]) -> float:
    """Seconds per video of making one stage; raises RuntimeError unless all were made."""
    began = time.perf_counter()
    outcomes = bench.make(stage, videos, "benchmark")
    seconds = time.perf_counter() - began
    lost = {outcome.why for outcome in outcomes if outcome.state != "made"}
    if lost:
        raise RuntimeError(f"{stage.name} was not made: {'; '.join(sorted(lost))}")
    return seconds / len(videos)
