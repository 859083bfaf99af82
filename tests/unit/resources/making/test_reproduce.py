"""An artifact made again from its manifest alone: the same bytes, or a reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from egoworld_assets.clips import STAGE as CLIPS
from egoworld_assets.videos import STAGE as PROBE
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.reproduce import CannotReproduce, reproduce
from egoworld_resources.making.workbench import Workbench
from tests.made_up import BRIGHTNESS, video, workbench


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench(tmp_path)


@pytest.fixture
def made(bench: Workbench, tmp_path: Path) -> Manifest:
    """Brightness of a video of two clips."""
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    for stage in (PROBE, CLIPS, BRIGHTNESS):
        (outcome,) = bench.make(stage, [key], "run")
    assert outcome.manifest is not None
    return outcome.manifest


def runner(tmp_path: Path) -> Path:
    return tmp_path / "more" / "envs" / "dimmer" / "runner.py"


def test_the_same_bytes_come_out_and_the_store_is_not_touched(bench: Workbench, made: Manifest) -> None:
    before = {path: path.stat().st_mtime_ns for path in bench.store.root.rglob("*") if path.is_file()}
    for stage in ("videos", "clips", "brightness"):
        manifest = bench.store.current(stage, made.video)
        assert manifest is not None
        found = reproduce(bench, manifest)
        assert (found.same, found.differences) == (True, ())
    assert {path: path.stat().st_mtime_ns for path in bench.store.root.rglob("*") if path.is_file()} == before
    assert list(bench.layout.scratch.iterdir()) == []


def test_parameters_and_inputs_are_those_of_the_manifest_not_today_s(
    bench: Workbench, made: Manifest, tmp_path: Path
) -> None:
    longer = workbench(tmp_path, params={"clips": {"max_clip_s": 1.0}, "brightness": {"level": 100.0}})
    (clips,) = longer.make(CLIPS, [made.video], "run")
    assert clips.manifest is not None
    assert clips.manifest.data_version != made.inputs["clips"], "today's clips are others"
    assert reproduce(longer, made).same


def test_other_code_is_refused_with_what_changed(bench: Workbench, made: Manifest, tmp_path: Path) -> None:
    source = runner(tmp_path)
    source.write_text(source.read_text().replace("frame.rgb.mean())", "frame.rgb.mean() + 1)"))
    with pytest.raises(CannotReproduce, match=r"runner source of dimmer changed.*Check out the code.*egoworld refresh"):
        reproduce(workbench(tmp_path), made)


def test_a_comment_is_no_other_code(bench: Workbench, made: Manifest, tmp_path: Path) -> None:
    source = runner(tmp_path)
    source.write_text("# Nothing of this decides anything.\n" + source.read_text())
    assert reproduce(workbench(tmp_path), made).same


def test_a_runner_that_is_not_deterministic_is_found_out(bench: Workbench, tmp_path: Path) -> None:
    source = runner(tmp_path)
    source.write_text(source.read_text().replace("float(frame.rgb.mean())", "time.time()"))
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    for stage in (PROBE, CLIPS, BRIGHTNESS):
        (outcome,) = bench.make(stage, [key], "run")
    assert outcome.manifest is not None
    found = reproduce(bench, outcome.manifest)
    assert not found.same
    assert [what.split(":")[0] for what in found.differences] == ["brightness.parquet"]


def test_a_file_that_is_declared_to_vary_is_reported_and_counts_as_the_same(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    declared = runner(tmp_path).with_name("pyproject.toml")
    varies = '[tool.egoworld.stages.brightness.varies]\n"brightness.parquet" = "it holds the time"\n'
    declared.write_text(declared.read_text() + varies)
    runner(tmp_path).write_text(runner(tmp_path).read_text().replace("float(frame.rgb.mean())", "time.time()"))
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    for stage in (PROBE, CLIPS, BRIGHTNESS):
        (outcome,) = bench.make(stage, [key], "run")
    assert outcome.manifest is not None
    found = reproduce(bench, outcome.manifest)
    assert found.same
    assert "it holds the time" in found.declared[0]


def test_what_is_gone_is_named(bench: Workbench, made: Manifest) -> None:
    clips = bench.store.current("clips", made.video)
    assert clips is not None
    table = bench.store.folder(clips) / "clips.parquet"
    table.chmod(0o644)
    table.write_bytes(b"other")
    with pytest.raises(DamagedArtifact, match=r"clips of .*clips\.parquet is damaged"):
        reproduce(bench, made)
    shutil.rmtree(bench.store.folder(clips))
    with pytest.raises(CannotReproduce, match=rf"its input clips \(version {clips.data_version}\) is no longer kept"):
        reproduce(bench, made)
    bench.store.source(made.source["sha256"], ".mp4").unlink()
    with pytest.raises(CannotReproduce, match=r"the bytes of 'a\.mp4'"):
        reproduce(bench, made)
