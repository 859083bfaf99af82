"""What a refresh would make, and its price, against what it then makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from egoworld_assets.plan import Step, plan, plan_table, within
from egoworld_assets.stages import stages
from egoworld_resources.arrivals import Arrivals
from egoworld_resources.workbench import Workbench
from tests.made_up import BRIGHTNESS, video, workbench

STAGES = [stages()["videos"], stages()["clips"], BRIGHTNESS]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Workbench, str]:
    bench = workbench(tmp_path)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    for stage in STAGES:
        bench.make(stage, [key], "run")
    return bench, key


def test_what_is_fresh_is_not_in_the_plan(made: tuple[Workbench, str]) -> None:
    bench, key = made
    assert plan(bench, STAGES, [key]) == []


def test_a_change_is_planned_with_its_reason_and_price(made: tuple[Workbench, str], tmp_path: Path) -> None:
    bench, key = made
    changed = workbench(tmp_path, params={"brightness": {"level": 9.0}})
    (step,) = plan(changed, STAGES, [key])
    assert (step.asset, step.certain, step.why) == ("brightness", True, "parameters changed: level 0.0 → 9.0")
    manifest = bench.store.current("brightness", key)
    assert manifest is not None
    assert step.seconds == pytest.approx(manifest.seconds)
    assert step.gpu_seconds == 0


def test_what_lies_behind_a_change_is_possible_and_never_invented(made: tuple[Workbench, str], tmp_path: Path) -> None:
    _, key = made
    changed = workbench(tmp_path, params={"clips": {"max_clip_s": 30.0}})
    first, behind = plan(changed, STAGES, [key])
    assert (first.asset, first.certain) == ("clips", True)
    assert (behind.asset, behind.certain, behind.why) == ("brightness", False, "behind clips: max_clip_s 60.0 → 30.0")
    outcome = changed.make(STAGES[1], [key], "run")[0]
    assert outcome.state == "made"
    assert plan(changed, STAGES, [key]) == [], "the clips came out the same, so what follows stays fresh"


def test_a_stage_that_was_never_run_has_no_known_price(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    steps = plan(bench, STAGES, [key])
    assert [(step.asset, step.seconds) for step in steps] == [("videos", None), ("clips", None), ("brightness", None)]
    assert within(steps, 1000) == [], "an unknown cost fits into no time"
    console = Console(width=200, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    console.print(plan_table(steps))
    assert "3 of unknown cost" in console.export_text()
    console.file.close()


def test_only_whole_videos_that_fit_are_taken_on() -> None:
    costs = (("a", "x", 1800.0), ("a", "y", 1800.0), ("b", "x", 9e9), ("c", "x", 9.0))
    steps = [Step(v, a, certain=True, why="", seconds=s, gpu_seconds=0.0) for v, a, s in costs]
    assert within(steps, 1.1) == ["a", "c"]
    assert within(steps, 0.5) == ["c"]
    assert within(steps, 0) == []
