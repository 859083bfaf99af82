"""Merging the episodes of many videos: order, index columns, reuse, refusals, licences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from egoworld_resources.dataset.episodes import ArtifactLineage, EpisodeArtifact
from egoworld_resources.dataset.export import LicenceRefused, export
from egoworld_resources.dataset.lineage import licence_changes, merged_videos
from egoworld_resources.dataset.merge import merge
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.licences import Licensing
from egoworld_resources.rights.bearing import Bearing, Kind
from egoworld_resources.rights.source_videos import Rights
from tests.made_artifacts import declared_params, make, run_stage

BASE = Path(__file__).parents[4] / "envs" / "base"
VIDEO = "videos/observation.images.ego/chunk-000"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EpisodeArtifact]:
    """Episodes of a small video, made once by the real stage; further keywords change the video or the parameters."""
    folder = tmp_path_factory.mktemp("episodes")

    def make_one(name: str, version: str = "v1", params: dict[str, Any] | None = None, **video: Any) -> EpisodeArtifact:
        place = folder / name / version
        if not place.exists():
            small = {"width": 96, "height": 54, **(params or {})}
            source = make(folder / name / f"{version}-in", name, frames=40, clips=((0, 20), (20, 40)), **video)
            given = {**declared_params(BASE / "pyproject.toml", "episodes"), **small}
            out, report = run_stage(
                BASE, "episodes:LeRobotEpisodes", "episodes", source, folder / name / f"{version}-out", given
            )
            assert report["state"] == "done", report
            shutil.copytree(out, place)
        return episodes(name, place, f"{version}-{name}", [under("weights", "hand_poses: palm", "Apache-2.0")])

    return make_one


def under(kind: Kind, of: str, licence: str) -> Bearing:
    judged = Licensing().judge(licence)
    return Bearing(kind, of, licence, judged.terms, judged.term, judged.reason)


def episodes(video: str, folder: Path, version: str, licences: Sequence[Bearing] = ()) -> EpisodeArtifact:
    """Episodes of a video whose rights are stated, made from hands by a model under some licences."""
    lineage = (ArtifactLineage("hand_poses", "d" * 32, "mediapipe", licences),)
    rights = Rights("Apache-2.0", "our own camera", "anna", "2026-11-01T10:00:00+00:00", "video")
    return EpisodeArtifact(video, folder, version, "a" * 64, lineage, rights, under("rights", video, "Apache-2.0"))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def frames_of(dataset: Path) -> Any:
    return pq.read_table([str(p) for p in sorted((dataset / "data").rglob("*.parquet"))])


def test_index_columns_run_through_and_values_stay(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    one, two = made("one"), made("two", robot_clips=(1,))
    report = merge([two, one], tmp_path / "dataset")
    assert (report.videos, report.episodes) == (("one", "two"), 3)
    table = frames_of(tmp_path / "dataset")
    assert table["index"].to_pylist() == list(range(report.frames))
    episodes = pq.read_table(sorted((tmp_path / "dataset" / "meta" / "episodes").rglob("*.parquet")))
    assert episodes["episode_index"].to_pylist() == [0, 1, 2]
    bounds = list(
        zip(episodes["dataset_from_index"].to_pylist(), episodes["dataset_to_index"].to_pylist(), strict=True)
    )
    assert bounds[0][0] == 0
    assert bounds[-1][1] == report.frames
    assert [a[1] for a in bounds[:-1]] == [b[0] for b in bounds[1:]]
    assert episodes["data/file_index"].to_pylist() == [0, 0, 1]
    for number, (start, end) in enumerate(bounds):
        assert set(table["episode_index"][start:end].to_pylist()) == {number}
        assert table["frame_index"][start:end].to_pylist() == list(range(end - start))
        assert episodes["stats/index/min"][number].as_py() == [start]
        assert episodes["stats/index/max"][number].as_py() == [end - 1]
    alone = pq.read_table(two.folder / "data/chunk-000/file-000.parquet")
    start = bounds[2][0]
    assert table["observation.state"][start:].to_pylist() == alone["observation.state"].to_pylist()


def test_statistics_are_those_of_all_frames(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    report = merge([made("one"), made("two", robot_clips=(1,))], tmp_path / "dataset")
    found = json.loads((tmp_path / "dataset/meta/stats.json").read_text(encoding="utf-8"))
    state = np.array(frames_of(tmp_path / "dataset")["observation.state"].to_pylist())
    for kind, value in (("mean", state.mean(0)), ("std", state.std(0)), ("min", state.min(0)), ("max", state.max(0))):
        np.testing.assert_allclose(found["observation.state"][kind], value, atol=1e-6)
    assert found["index"]["max"] == [report.frames - 1]
    assert found["action"]["count"] == [report.frames]
    assert np.shape(found["observation.images.ego"]["mean"]) == (3, 1, 1)


def test_adding_a_video_reuses_files_and_equals_a_merge_from_nothing(
    made: Callable[..., EpisodeArtifact], tmp_path: Path
) -> None:
    one, two = made("one"), made("two", robot_clips=(1,))
    first = merge([one], tmp_path / "dataset")
    assert (first.linked, first.rewritten) == (1, 2)
    data = (tmp_path / "dataset/data/chunk-000/file-000.parquet").stat().st_ino
    second = merge([one, two], tmp_path / "dataset", previous=tmp_path / "dataset")
    assert (second.linked, second.rewritten) == (4, 2)
    assert (tmp_path / "dataset/data/chunk-000/file-000.parquet").stat().st_ino == data
    assert (tmp_path / "dataset" / VIDEO / "file-001.mp4").samefile(two.folder / VIDEO / "file-000.mp4")
    merge([two, one], tmp_path / "again")
    assert tree(tmp_path / "dataset") == tree(tmp_path / "again")


def test_a_video_before_the_others_moves_them(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    one, two = made("one"), made("two", robot_clips=(1,))
    merge([two], tmp_path / "dataset")
    moved = merge([one, two], tmp_path / "dataset", previous=tmp_path / "dataset")
    assert (moved.linked, moved.rewritten) == (2, 4)
    assert frames_of(tmp_path / "dataset")["index"].to_pylist() == list(range(moved.frames))


def test_a_new_version_of_a_video_is_not_taken_from_before(
    made: Callable[..., EpisodeArtifact], tmp_path: Path
) -> None:
    one, newer = made("one"), made("one", version="v2", params={"task": "sort blocks"})
    merge([one], tmp_path / "dataset")
    report = merge([newer], tmp_path / "dataset", previous=tmp_path / "dataset")
    assert report.rewritten == 2
    tasks = pq.read_table(tmp_path / "dataset/meta/tasks.parquet").to_pydict()
    assert tasks == {"task_index": [0], "__index_level_0__": ["sort blocks"]}


def test_tasks_of_several_videos_get_one_table(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    merge([made("one"), made("two", robot_clips=(1,)), made("three", params={"task": "pour"})], tmp_path / "dataset")
    tasks = pq.read_table(tmp_path / "dataset/meta/tasks.parquet").to_pydict()
    assert tasks["__index_level_0__"] == ["first-person manipulation", "pour"]
    table = frames_of(tmp_path / "dataset")
    assert set(table["task_index"].to_pylist()) == {0, 1}
    episodes = pq.read_table(sorted((tmp_path / "dataset" / "meta" / "episodes").rglob("*.parquet"))).to_pylist()
    for row in episodes:
        at = table["task_index"][row["dataset_from_index"]].as_py()
        assert row["tasks"] == [tasks["__index_level_0__"][at]]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("faster", {"params": {"fps": 10}}, "fps is 10, the dataset's is 15"),
        ("wider", {"params": {"width": 128}}, "feature observation.images.ego"),
        ("shadow", {"robot": "shadow"}, "robot_type is 'shadow'"),
    ],
)
def test_the_odd_one_out_is_refused_with_its_reason(
    made: Callable[..., EpisodeArtifact], tmp_path: Path, name: str, change: dict[str, Any], reason: str
) -> None:
    report = merge([made("aaa-" + name, **change), made("one"), made("two", robot_clips=(1,))], tmp_path / "dataset")
    assert report.videos == ("one", "two")
    assert reason in report.refused["aaa-" + name]
    assert f"aaa-{name}" in (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("data/chunk-000/file-000.parquet", b"PAR1 not really", "cannot be read"),
        ("meta/stats.json", b"{", "cannot be read"),
        ("meta/stats.json", b"{}", "stats.json and the data differ in action"),
        (f"{VIDEO}/file-000.mp4", b"no mp4", "cannot be read"),
        ("meta/tasks.parquet", None, "meta/tasks.parquet is missing"),
        ("meta/info.json", None, "no episode"),
    ],
)
def test_damaged_episodes_are_refused_and_without_any_video_nothing_changes(
    made: Callable[..., EpisodeArtifact], tmp_path: Path, file: str, content: bytes | None, reason: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(made("one").folder, broken)
    (broken / file).unlink()
    if content is not None:
        (broken / file).write_bytes(content)
    merge([made("one")], tmp_path / "dataset")
    before = tree(tmp_path / "dataset")
    report = merge([episodes("broken", broken, "v")], tmp_path / "dataset")
    assert not report.written
    assert reason in report.refused["broken"]
    assert tree(tmp_path / "dataset") == before


def test_a_failure_in_the_middle_leaves_the_old_dataset(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    merge([made("one")], tmp_path / "dataset")
    before = tree(tmp_path / "dataset")
    broken = tmp_path / "broken"
    shutil.copytree(made("two", robot_clips=(1,)).folder, broken)
    data = broken / "data/chunk-000/file-000.parquet"
    table = pq.read_table(data)
    tasks = np.full(len(table), 7)
    pq.write_table(table.set_column(table.column_names.index("task_index"), "task_index", [tasks]), data)
    with pytest.raises(IndexError):
        merge([made("one"), episodes("two", broken, "v")], tmp_path / "dataset")
    assert tree(tmp_path / "dataset") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "dataset"]


def test_an_old_dataset_moved_aside_by_a_killed_merge_comes_back(
    made: Callable[..., EpisodeArtifact], tmp_path: Path
) -> None:
    merge([made("one")], tmp_path / "dataset")
    (tmp_path / "dataset").rename(tmp_path / ".dataset.old")
    report = merge([made("one")], tmp_path / "dataset", previous=tmp_path / "dataset")
    assert report.written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset"]


def non_commercial(artifact: EpisodeArtifact) -> EpisodeArtifact:
    masks = ArtifactLineage("masks", "e" * 32, "some_model", [under("weights", "masks: net", "CC-BY-NC-4.0")])
    return replace(artifact, lineage=(*artifact.lineage, masks))


def test_a_non_commercial_licence_is_said_loudly_and_stops_a_commercial_export(
    made: Callable[..., EpisodeArtifact], tmp_path: Path
) -> None:
    found = [made("one"), non_commercial(made("two", robot_clips=(1,)))]
    report = merge(found, tmp_path / "dataset")
    assert not report.commercial
    card = (tmp_path / "dataset/README.md").read_text(encoding="utf-8")
    assert "NON-COMMERCIAL" in card
    assert "license_name: mixed-non-commercial" in card
    with pytest.raises(LicenceRefused, match=r"two: weights of masks: net: CC-BY-NC-4.0, non-commercial"):
        export(tmp_path / "dataset", found, tmp_path / "out", commercial=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset"], "nothing half-written"
    export(tmp_path / "dataset", found, tmp_path / "out", commercial=False)
    assert tree(tmp_path / "out") == tree(tmp_path / "dataset")
    narrowed = export(tmp_path / "dataset", found, tmp_path / "narrow", commercial=True, leave_out=True)
    assert (narrowed.report.videos, list(narrowed.left_out), narrowed.report.commercial) == (("one",), ["two"], True)
    merge([made("one")], tmp_path / "alone")
    assert tree(tmp_path / "narrow") == tree(tmp_path / "alone"), "no trace of the other is left"


def test_a_commercial_export_is_a_copy_of_its_own(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    report = merge([made("one")], tmp_path / "dataset")
    assert report.commercial
    assert (
        (tmp_path / "dataset/README.md")
        .read_text(encoding="utf-8")
        .startswith("---\nlicense: apache-2.0\ntask_categories:")
    )
    export(tmp_path / "dataset", [made("one")], tmp_path / "out", commercial=True)
    assert not (tmp_path / "out" / VIDEO / "file-000.mp4").samefile(tmp_path / "dataset" / VIDEO / "file-000.mp4")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.stat().st_nlink > 1]
    with pytest.raises(BadConfiguration, match="exists"):
        export(tmp_path / "dataset", [made("one")], tmp_path / "out", commercial=True)
    with pytest.raises(BadConfiguration, match="not a merged dataset"):
        merged_videos(tmp_path)


def test_without_stated_rights_nothing_is_commercial(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    unstated = replace(made("one"), rights=Rights(), bearing=None)
    assert not merge([unstated], tmp_path / "dataset").commercial
    with pytest.raises(LicenceRefused, match="nobody has stated the rights"):
        export(tmp_path / "dataset", [unstated], tmp_path / "out", commercial=True)


def test_the_code_of_a_tool_is_not_a_licence_of_the_data(made: Callable[..., EpisodeArtifact], tmp_path: Path) -> None:
    tool = ArtifactLineage("videos", "f" * 32, "base", [under("code", "videos", "GPL-3.0-or-later")])
    report = merge([replace(made("one"), lineage=(*made("one").lineage, tool))], tmp_path / "dataset")
    assert (report.licences, report.code_licences) == (("Apache-2.0",), ("GPL-3.0-or-later",))
    card = (tmp_path / "dataset/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "| code of models (not a licence of this data) | GPL-3.0-or-later | commercial |" in card


def test_a_licence_that_changes_makes_the_card_old_and_a_merge_moves_no_data(
    made: Callable[..., EpisodeArtifact], tmp_path: Path
) -> None:
    found, dataset = [made("one")], tmp_path / "dataset"
    merge(found, dataset)
    assert licence_changes(dataset, found) == []
    now = replace(under("weights", "hand_poses: palm", "CC-BY-NC-4.0"), then="Apache-2.0")
    corrected = [episodes("one", found[0].folder, found[0].data_version, [now])]
    assert licence_changes(dataset, corrected) == [
        "one: weights of hand_poses: palm: Apache-2.0 (commercial) → CC-BY-NC-4.0 (non-commercial)"
    ]
    report = merge(corrected, dataset, previous=dataset)
    assert (report.rewritten, report.commercial) == (0, False)
    card = (dataset / "README.md").read_text(encoding="utf-8")
    assert "- hand_poses: palm (weights): Apache-2.0, today CC-BY-NC-4.0" in card
    assert licence_changes(dataset, corrected) == []
    whose = [replace(corrected[0], rights=replace(corrected[0].rights, source="a customer"))]
    assert licence_changes(dataset, whose) == ["one: who provided the video, or who stated it"]
