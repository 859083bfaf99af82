"""What a refresh would make, and its price, against what it then makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from egoworld_assets.cli.refresh import as_data, chosen, show, why_left
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.cost import Cost, cost_of
from egoworld_assets.planning.plan import Plan, Step, plan, within
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from tests.made_up import BRIGHTNESS, add_env, video, workbench

STAGES = [stages()["videos"], stages()["clips"], BRIGHTNESS]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Workbench, str]:
    bench = workbench(tmp_path)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    for stage in STAGES:
        bench.make(stage, [key], "run")
    return bench, key


def printed(found: Plan, tmp_path: Path, *, as_json: bool = False) -> str:
    with (tmp_path / "out").open("w") as out:
        console = Console(width=200, record=True, file=out)
        show(found, console, as_json)
        return console.export_text()


def test_what_is_fresh_is_not_in_the_plan(made: tuple[Workbench, str], tmp_path: Path) -> None:
    bench, key = made
    found = plan(bench, STAGES, [key])
    assert (found.steps, found.faults) == ([], [])
    assert "nothing is missing or stale" in printed(found, tmp_path)


def test_a_change_is_planned_with_its_reason_and_price(made: tuple[Workbench, str], tmp_path: Path) -> None:
    bench, key = made
    changed = workbench(tmp_path, params={"brightness": {"level": 9.0}})
    found = plan(changed, STAGES, [key])
    (step,) = found.steps
    assert (step.asset, step.certain, step.why) == ("brightness", True, "parameters changed: level 0.0 → 9.0")
    manifest = bench.store.current("brightness", key)
    assert manifest is not None
    assert step.seconds == pytest.approx(manifest.seconds)
    assert step.gpu_seconds == 0
    load = bench.store.recorded("loads", "brightness/dimmer")
    assert load is not None
    assert as_data(found)["total"]["seconds"] == pytest.approx(manifest.seconds + load["seconds"])


def test_what_lies_behind_a_change_is_possible(made: tuple[Workbench, str], tmp_path: Path) -> None:
    _, key = made
    changed = workbench(tmp_path, params={"clips": {"max_clip_s": 30.0}})
    first, behind = plan(changed, STAGES, [key]).steps
    reason = "parameters changed: max_clip_s 60.0 → 30.0"
    assert (first.asset, first.certain, first.why) == ("clips", True, reason)
    assert (behind.asset, behind.certain, behind.why) == ("brightness", False, f"behind clips: {reason}")
    outcome = changed.make(STAGES[1], [key], "run")[0]
    assert outcome.state == "made"
    assert plan(changed, STAGES, [key]).steps == [], "the clips came out the same, so what follows stays fresh"


def test_a_stage_that_was_never_run_has_no_known_price(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    found = plan(bench, STAGES, [key])
    assert [(s.asset, s.certain, s.seconds) for s in found.steps] == [(s.name, True, None) for s in STAGES]
    assert within(found, 1000) == [], "an unknown cost fits into no time"
    assert "0.0 + 3 unknown" in printed(found, tmp_path)
    assert why_left(found.steps) == "cost of videos, clips, brightness unknown"


def test_a_new_video_is_priced_by_the_size_of_its_file(made: tuple[Workbench, str], tmp_path: Path) -> None:
    bench, key = made
    new = Arrivals(bench.store).take(video(tmp_path / "long.mp4", shots=(60, 60))).video
    frames = {name: bench.store.recorded("videos", name) for name in (key, new)}
    share = frames[new]["bytes"] / frames[key]["bytes"]  # type: ignore[index]
    for step in plan(bench, STAGES, [new]).steps:
        measured = bench.store.current(step.asset, key)
        assert measured is not None
        assert step.seconds == pytest.approx(measured.seconds * share)


def test_today_s_env_sets_the_price_and_another_device_none(made: tuple[Workbench, str], tmp_path: Path) -> None:
    bench, _ = made
    envs = tmp_path / "more" / "envs"
    add_env(envs, "brighter")
    declared = add_env(envs, "dimmer_gpu") / "pyproject.toml"
    declared.write_text(declared.read_text().replace('device = "cpu"', 'device = "cuda"'))
    measured = cost_of(bench, BRIGHTNESS)
    assert measured.per_frame is not None
    other = cost_of(workbench(tmp_path, stages={"brightness": "brighter"}), BRIGHTNESS)
    assert other == Cost(measured.per_frame, None, gpu=False), "another env's price until this one has its own"
    assert cost_of(workbench(tmp_path, stages={"brightness": "dimmer_gpu"}), BRIGHTNESS) == Cost(None, None, gpu=True)


def test_what_cannot_be_judged_is_said_once_and_the_rest_is_planned(
    made: tuple[Workbench, str], tmp_path: Path
) -> None:
    bench, key = made
    other = Arrivals(bench.store).take(video(tmp_path / "b.mp4", shots=(9, 9))).video
    broken = workbench(tmp_path, stages={"brightness": "nobody"}, params={"clips": {"max_clip_s": 30.0}})
    for stage in STAGES[:2]:
        bench.make(stage, [other], "run")
    found = plan(broken, STAGES, [key, other])
    assert [(step.video, step.asset) for step in found.steps] == [(key, "clips"), (other, "clips")]
    (fault,) = found.faults
    assert fault.startswith("brightness: unknown model env 'nobody'")
    assert "cannot be judged: brightness" in printed(found, tmp_path)


def steps(**seconds: tuple[float | None, ...]) -> Plan:
    """A plan of videos with one step a stage with the seconds; loading the model of stage y takes 600 s."""
    found = [
        Step(video, asset, "stale", certain=True, roots={asset: "it changed"}, seconds=cost, gpu_seconds=0.0)
        for video, costs in seconds.items()
        for asset, cost in zip("xy", costs, strict=False)
    ]
    costs: Mapping[str, Cost] = {"x": Cost(1.0, None, gpu=False), "y": Cost(1.0, 600.0, gpu=True)}
    return Plan(found, costs, [])


def test_only_whole_videos_that_fit_are_taken_on() -> None:
    found = steps(a=(1800, 1800), b=(9e9,), c=(9,), d=(None,))
    assert within(found, 1.5) == ["a", "c"]
    assert within(found, 1.1) == ["c"], "the load of y does not fit, nothing of a is begun"
    assert within(found, 0) == []
    assert within(steps(a=(0.0,)), 0) == []
    assert within(steps(a=(0, 1500), b=(0, 1500)), 1.0) == ["a", "b"], "a model is loaded once for all videos"


def test_many_videos_are_reported_by_reason(tmp_path: Path) -> None:
    found = steps(**{f"v{number}": (10.0, None) for number in range(21)})
    lines = [line for line in printed(found, tmp_path).splitlines() if "it changed" in line]
    assert len(lines) == 2
    assert [cell.strip() for cell in lines[0].split("│")[1:-1]] == [
        *("21", "x", "stale", "certainly", "it changed", "210.0", "0.0"),
    ]
    assert "unknown" in lines[1]


def test_what_is_left_is_said_with_its_reason(made: tuple[Workbench, str], tmp_path: Path) -> None:
    _, key = made
    changed = workbench(tmp_path, params={"clips": {"max_clip_s": 30.0}})
    with (tmp_path / "out").open("w") as out:
        console = Console(width=200, record=True, file=out)
        assert chosen(changed, [key], console, 5.0, listed=False) == []
        assert chosen(changed, [key], console, None, listed=True) == [key]
        text = console.export_text()
    assert "0 of 1 videos fit into 5 h" in text
    assert f"left: {key}: cost of hand_poses, " in text
    assert "costs get known once one video went through" in text
    assert why_left(steps(a=(1800, 1800)).steps) == "takes 3,600.0 s"


def test_programs_get_the_same(made: tuple[Workbench, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, key = made
    changed = workbench(tmp_path, params={"clips": {"max_clip_s": 30.0}})
    printed(plan(changed, STAGES, [key]), tmp_path, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [(s["video"], s["asset"], s["certain"], s["state"]) for s in document["steps"]] == [
        (key, "clips", True, "stale"),
        (key, "brightness", False, "fresh"),
    ]
    assert document["steps"][1]["why"] == "behind clips: parameters changed: max_clip_s 60.0 → 30.0"
    assert document["stages"].keys() == {"clips", "brightness"}
    assert document["total"]["steps"] == 2
    assert (
        0
        < document["stages"]["clips"]["seconds_certain"]
        <= document["total"]["seconds_certain"]
        < document["total"]["seconds"]
    )
