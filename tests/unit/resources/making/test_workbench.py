from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.errors import UnknownName
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.reproduce import reproduce
from egoworld_resources.making.workbench import Workbench
from tests.made_up import BRIGHTNESS, add_env, video, workbench

PROBE, CLIPS = stages()["videos"], stages()["clips"]


def taken(bench: Workbench, path: Path) -> str:
    return Arrivals(bench.store).take(path).video


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench(tmp_path)


@pytest.fixture
def clipped(bench: Workbench, tmp_path: Path) -> str:
    """A video with two clips."""
    key = taken(bench, video(tmp_path / "a.mp4", shots=(14, 14)))
    for stage in (PROBE, CLIPS):
        assert [o.state for o in bench.make(stage, [key], "run")] == ["made"]
    assert [(s, e) for _, s, e in bench.clips(bench.store.current("clips", key))] == [(0, 14), (14, 28)]
    return key


def test_an_env_in_another_folder_serves_a_stage(bench: Workbench, clipped: str) -> None:
    (outcome,) = bench.make(BRIGHTNESS, [clipped], "run")
    assert outcome.manifest is not None
    assert outcome.manifest.rows == {"brightness": 28}
    assert outcome.manifest.recipe.label == "made-up"
    assert "CC0-1.0" in outcome.manifest.code_licences
    assert "CC0-1.0" not in outcome.manifest.licences, "the licence of code is not one of what it makes"
    assert bench.store.verify(outcome.manifest) == []


def test_what_is_fresh_is_not_made_again(bench: Workbench, clipped: str) -> None:
    first = bench.make(BRIGHTNESS, [clipped], "one")[0]
    again = bench.make(BRIGHTNESS, [clipped], "two")[0]
    forced = bench.make(BRIGHTNESS, [clipped], "three", force=True)[0]
    assert (again.state, forced.state) == ("fresh", "made")
    assert first.manifest is not None
    assert forced.manifest is not None
    assert again.manifest == first.manifest
    assert forced.manifest.data_version == first.manifest.data_version, "same recipe, same inputs, same digest"


def test_a_parameter_makes_it_stale_and_says_so(bench: Workbench, clipped: str, tmp_path: Path) -> None:
    bench.make(BRIGHTNESS, [clipped], "run")
    changed = workbench(tmp_path, params={"brightness": {"level": 100.0}})
    state = changed.state(BRIGHTNESS, clipped)
    assert (state.condition, state.why) == ("stale", "parameters changed: level 0.0 → 100.0")
    assert bench.state(BRIGHTNESS, clipped).condition == "fresh"


def test_a_comment_in_the_runner_changes_nothing_but_code_does(bench: Workbench, clipped: str, tmp_path: Path) -> None:
    bench.make(BRIGHTNESS, [clipped], "run")
    runner = tmp_path / "more" / "envs" / "dimmer" / "runner.py"
    runner.write_text(runner.read_text() + "\n# a comment\n")
    assert workbench(tmp_path).state(BRIGHTNESS, clipped).condition == "fresh"
    runner.write_text(runner.read_text().replace("frame.rgb.mean())", "frame.rgb.max())", 2))
    state = workbench(tmp_path).state(BRIGHTNESS, clipped)
    assert (state.condition, state.why) == ("stale", "runner source of dimmer changed")


def test_an_edit_of_a_file_that_a_parameter_names_makes_it_stale(
    bench: Workbench, clipped: str, tmp_path: Path
) -> None:
    robot = tmp_path / "hand_left.urdf"
    robot.write_text("<robot/>")
    named = {"params": {"brightness": {"crash": f"{tmp_path}/hand_{{side}}.urdf"}}}
    workbench(tmp_path, **named).make(BRIGHTNESS, [clipped], "run")
    assert workbench(tmp_path, **named).state(BRIGHTNESS, clipped).condition == "fresh"
    robot.write_text("<robot name='other'/>")
    assert "files named by parameters changed: crash" in workbench(tmp_path, **named).state(BRIGHTNESS, clipped).why


def test_new_bytes_make_everything_stale_from_the_start(bench: Workbench, clipped: str, tmp_path: Path) -> None:
    bench.make(BRIGHTNESS, [clipped], "run")
    assert taken(bench, video(tmp_path / "a.mp4", shots=(12, 12, 12))) == clipped
    assert bench.state(PROBE, clipped).why == "input source has new contents"
    assert bench.state(BRIGHTNESS, clipped).condition == "stale"
    for stage in (PROBE, CLIPS, BRIGHTNESS):
        bench.make(stage, [clipped], "again")
    assert [bench.state(s, clipped).condition for s in (PROBE, CLIPS, BRIGHTNESS)] == ["fresh"] * 3
    assert len(bench.clips(bench.store.current("clips", clipped))) == 3


def test_another_env_can_serve_the_stage(bench: Workbench, clipped: str, tmp_path: Path) -> None:
    bench.make(BRIGHTNESS, [clipped], "run")
    add_env(tmp_path / "more" / "envs", "brighter")
    chosen = workbench(tmp_path, stages={"brightness": "brighter"})
    assert chosen.state(BRIGHTNESS, clipped).why == "served by env brighter instead of dimmer"
    assert chosen.make(BRIGHTNESS, [clipped], "run")[0].state == "made"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("exit", "ended with status 3"),
        ("killed", "killed by SIGKILL"),
        ("refuse", "switch on the light"),
    ],
)
def test_a_clip_that_ends_its_runner_costs_that_clip_only(
    bench: Workbench, clipped: str, tmp_path: Path, how: str, reason: str
) -> None:
    third = taken(bench, video(tmp_path / "b.mp4", shots=(13, 13, 13)))
    for stage in (PROBE, CLIPS):
        bench.make(stage, [third], "run")
    crashing = workbench(tmp_path, params={"brightness": {"crash": how}})
    outcomes = crashing.make(BRIGHTNESS, [clipped, third], "run")
    for outcome, clips in zip(outcomes, (2, 3), strict=True):
        assert outcome.manifest is not None
        states = [clip.state for clip in outcome.manifest.clips]
        assert states == ["done"] + ["failed"] * (clips - 1)
        assert all(reason in clip.reason for clip in outcome.manifest.clips[1:])
        assert outcome.manifest.rows == {"brightness": 14 if clips == 2 else 13}


def test_a_clip_that_hangs_is_ended_once_its_runner_has_printed_nothing_for_long(clipped: str, tmp_path: Path) -> None:
    hanging = workbench(tmp_path, params={"brightness": {"crash": "hang"}}, silence_s=15.0)
    (outcome,) = hanging.make(BRIGHTNESS, [clipped], "run")
    assert outcome.manifest is not None
    assert [clip.state for clip in outcome.manifest.clips] == ["done", "failed"]
    assert "printed nothing for 15 s" in outcome.manifest.clips[1].reason
    assert outcome.manifest.rows == {"brightness": 14}


def test_a_clip_whose_runner_was_killed_from_outside_is_tried_once_more(
    bench: Workbench, clipped: str, tmp_path: Path
) -> None:
    (undisturbed,) = bench.make(BRIGHTNESS, [clipped], "run")
    (killed,) = workbench(tmp_path, params={"brightness": {"crash": "killed once"}}).make(BRIGHTNESS, [clipped], "run")
    assert killed.manifest is not None
    assert undisturbed.manifest is not None
    assert killed.manifest.files == undisturbed.manifest.files


def test_a_bad_video_fails_with_a_reason_and_not_again_until_something_changes(
    bench: Workbench, tmp_path: Path
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("these are no pictures")
    bad, good = taken(bench, text), taken(bench, video(tmp_path / "good.mp4"))
    failed, made = bench.make(PROBE, [bad, good], "run")
    assert (failed.state, made.state) == ("failed", "made")
    assert "not a readable video" in failed.why
    assert bench.state(PROBE, bad).condition == "failed"
    assert bench.state(CLIPS, bad).condition == "blocked"
    again = subprocess.run(shlex.split(bench.rerun_command(PROBE, bad)), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "not a readable video" in again.stdout, "the kept command fails in the same way"
    assert bench.rerun_command(PROBE, good) == ""


def test_nothing_is_left_in_scratch(bench: Workbench, clipped: str) -> None:
    bench.make(BRIGHTNESS, [clipped], "run")
    assert list(bench.layout.scratch.iterdir()) == []


def test_a_model_for_a_gpu_runs_on_a_cpu_where_the_configuration_says_so(
    bench: Workbench, clipped: str, tmp_path: Path
) -> None:
    declared = add_env(tmp_path / "more" / "envs", "dimmer_gpu") / "pyproject.toml"
    declared.write_text(declared.read_text().replace('device = "cpu"', 'device = "cuda"'))
    chosen = {"brightness": "dimmer_gpu"}
    assert workbench(tmp_path, stages=chosen).recipe(BRIGHTNESS).device == "cuda"
    slow = workbench(tmp_path, stages=chosen, on_cpu=["brightness"])
    (made,) = slow.make(BRIGHTNESS, [clipped], "run")
    assert made.manifest is not None, made.why
    assert made.manifest.recipe.device == "cpu"
    by_default = workbench(tmp_path, stages=chosen)
    assert "device changed: cpu → cuda" in by_default.state(BRIGHTNESS, clipped).why
    assert reproduce(by_default, made.manifest).same, "on the device that it was made on"


def test_names_that_do_not_exist_are_answered_with_those_that_do(
    bench: Workbench, clipped: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownName, match="unknown video 'nobody'; known: a-"):
        bench.state(PROBE, "nobody")
    with pytest.raises(UnknownName, match="known: crash, level"):
        workbench(tmp_path, params={"brightness": {"levle": 1}}).recipe(BRIGHTNESS)
    with pytest.raises(UnknownName, match=r"unknown model env 'sam1'; known: .*dimmer"):
        workbench(tmp_path, stages={"brightness": "sam1"}).recipe(BRIGHTNESS)
    with pytest.raises(UnknownName, match="unknown env for stage 'brightness' 'base'; known: dimmer"):
        workbench(tmp_path, stages={"brightness": "base"}).recipe(BRIGHTNESS)
