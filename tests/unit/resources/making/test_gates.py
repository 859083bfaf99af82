"""A clip that does not pass the gates of its stage is left out while another one passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.artifacts.manifest import Manifest, Verdict
from egoworld_resources.artifacts.stage import Draft
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.reproduce import reproduce
from egoworld_resources.making.workbench import Workbench
from tests.made_up import BRIGHTNESS, RUNNER, add_env, video, workbench

SAYS = RUNNER.replace(
    "        for frame in clip.frames():\n",
    "        if clip.start_frame == 0:\n"
    '            clip.nothing("the lens is covered")\n'
    "            return\n"
    "        for frame in clip.frames():\n",
)


def bright(draft: Draft) -> Verdict:
    """It is light."""
    levels = draft.table("level")["level"].to_pylist()
    dark = sum(levels) / len(levels) < 100 if levels else False
    return Verdict(check="bright", passed=not dark, reason=f"it is dark in {len(levels)} frames" if dark else "")


def never(_: Draft) -> Verdict:
    """No clip is good enough."""
    return Verdict(check="never", passed=False, reason="nothing pleases it")


def made_with(bench: Workbench, tmp_path: Path, *gates: object, shots: tuple[int, ...] = (12, 12)) -> Manifest:
    from egoworld_assets.orchestration.registry import stages

    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4", shots=shots)).video
    for name in ("videos", "clips"):
        bench.make(stages()[name], [key], "run")
    [outcome] = bench.make(replace(BRIGHTNESS, gates=gates), [key], "run")
    assert outcome.manifest is not None, outcome.why
    return outcome.manifest


def test_the_bad_clip_goes_and_the_good_one_stays(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    made = made_with(bench, tmp_path, bright)
    dark, light = made.clips
    assert (dark.state, dark.reason, light.state) == ("failed", "bright: it is dark in 12 frames", "done")
    assert made.quarantine == ""
    assert made.remark == "1 of 2 clips left out: bright: it is dark in 12 frames"
    folder = bench.store.folder(made)
    rows = Draft("brightness", folder, made.clips, {}).table().to_pylist()
    assert {row["clip_id"] for row in rows} == {light.unit}
    assert json.loads((folder / "remarks.json").read_text()) == {dark.unit: dark.reason}
    assert reproduce(bench, made).same


def test_when_no_clip_passes_all_are_kept_for_a_look_and_the_video_is_quarantined(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    made = made_with(bench, tmp_path, never)
    assert made.quarantine == "never: in 2 of 2 clips: nothing pleases it"
    assert [clip.state for clip in made.clips] == ["done", "done"]
    assert made.rows == {"brightness": 24}
    assert bench.store.recorded("quarantine", f"brightness/{made.video}")


def test_clips_that_fail_different_gates_leave_nothing_too(tmp_path: Path) -> None:
    """No gate stops all of the clips, but each clip is stopped by one."""

    def dim(draft: Draft) -> Verdict:
        """It is dim."""
        passed = not bright(draft).passed
        return Verdict(check="dim", passed=passed, reason="" if passed else "it glares")

    bench = workbench(tmp_path)
    made = made_with(bench, tmp_path, bright, dim)
    assert made.quarantine == ("bright: in 1 of 2 clips: it is dark in 12 frames; dim: in 1 of 2 clips: it glares")


def test_what_the_model_says_of_an_empty_clip_is_kept_beside_the_tables(tmp_path: Path) -> None:
    add_env(tmp_path / "more" / "envs", source=SAYS)
    bench = workbench(tmp_path)
    made = made_with(bench, tmp_path)
    assert made.remark == "1 of 2 clips with nothing: the lens is covered"
    said = json.loads((bench.store.folder(made) / "remarks.json").read_text())
    assert said == {made.clips[0].unit: "the lens is covered"}


def test_what_a_model_leaves_out_of_a_clip_is_a_remark(tmp_path: Path) -> None:
    """Status and the dataset's card show it; the rows that there are stay good."""
    said = SAYS.replace("clip.nothing(", 'clip.note("left_out", ').replace("            return\n", "")
    add_env(tmp_path / "more" / "envs", source=said)
    made = made_with(workbench(tmp_path), tmp_path)
    assert made.remark == "1 of 2 clips not whole: the lens is covered"
    assert made.rows == {"brightness": 24}


@pytest.mark.parametrize("shots", [(12,), (12, 12)])
def test_good_clips_leave_no_remark(tmp_path: Path, shots: tuple[int, ...]) -> None:
    bench = workbench(tmp_path)
    made = made_with(bench, tmp_path, shots=shots)
    assert made.remark == ""
    assert not (bench.store.folder(made) / "remarks.json").exists()
