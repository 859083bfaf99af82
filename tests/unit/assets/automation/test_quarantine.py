"""The quarantine table: who stopped where and why, as Dagster shows it; one that did not change is not logged again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation import quarantine as module
from egoworld_assets.automation.quarantine import COLUMNS, quarantine, stopped
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Verdict
from egoworld_resources.artifacts.stage import Draft, Stage
from egoworld_resources.errors import UnknownName
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.state import State
from egoworld_resources.making.workbench import Workbench
from tests.made_up import video, workbench


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench(tmp_path)


def broken_video(bench: Workbench, tmp_path: Path, name: str) -> str:
    """A file without pictures, after the first stage has looked at it."""
    (tmp_path / name).write_text(f"no pictures in {name}", encoding="utf-8")
    key = Arrivals(bench.store).take(tmp_path / name).video
    bench.make(stages()["videos"], [key], "run")
    return key


def never(_draft: Draft) -> Verdict:
    """No artifact is good enough."""
    return Verdict(check="never", passed=False, reason="nothing pleases it")


def never_passes(stage: Stage) -> Stage:
    return dataclasses.replace(stage, checks=(never,))


def materialized(bench: Workbench, instance: dg.DagsterInstance) -> Mapping[str, dg.MetadataValue] | None:
    result = dg.materialize([quarantine], instance=instance, resources={"bench": bench})
    found = result.asset_materializations_for_node("quarantine")
    return found[0].metadata if found else None


def test_a_failed_video_is_listed_with_its_attempts_and_the_command_that_repeats_it(
    bench: Workbench, tmp_path: Path
) -> None:
    key = broken_video(bench, tmp_path, "bad.mp4")
    good = Arrivals(bench.store).take(video(tmp_path / "good.mp4")).video
    bench.make(stages()["videos"], [good], "run")
    [first] = stopped(bench)
    assert (first["video"], first["name"], first["stage"], first["state"]) == (key, "bad.mp4", "videos", "failed")
    assert first["reason"]
    assert str(first["reproduce"]).endswith("job.json")
    assert first["attempts"] == 1
    bench.make(stages()["videos"], [key], "run", force=True)
    [again] = stopped(bench)
    assert again["attempts"] == 2
    assert again["since"] == first["since"] != ""


def test_a_quarantined_video_is_reported_and_those_behind_it_are_not(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    strict = never_passes(stages()["videos"])
    bench.make(strict, [key], "run")
    [found] = stopped(bench.snapshot())
    assert (found["stage"], found["state"], found["attempts"]) == ("videos", "quarantined", 1)
    assert found["reason"] == "never: nothing pleases it"
    assert found["since"] == bench.store.current("videos", key).made_at
    bench.make(strict, [key], "run", force=True)
    assert next(stopped(bench))["attempts"] == 2
    bench.make(stages()["videos"], [key], "run", force=True)
    assert list(stopped(bench)) == []
    assert bench.store.recorded("quarantine", f"videos/{key}") is None


def test_a_stage_that_cannot_be_judged_is_passed_over(bench: Workbench, tmp_path: Path) -> None:
    """An unknown env is a fault of the configuration, not of the video."""
    key = broken_video(bench, tmp_path, "bad.mp4")
    wrong = Workbench(bench.settings.model_copy(update={"stages": {"videos": "unheard_of"}}))
    with pytest.raises(UnknownName):
        wrong.state(stages()["videos"], key)
    assert list(stopped(wrong)) == []


def test_a_stopped_artifact_is_judged_once(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = broken_video(bench, tmp_path, "bad.mp4")
    asked: list[str] = []
    judge = Workbench.state

    def counted(self: Workbench, stage: Stage, video: str) -> State:
        asked.append(stage.name)
        return judge(self, stage, video)

    monkeypatch.setattr(Workbench, "state", counted)
    [found] = stopped(bench)
    assert found["video"] == key
    assert asked == list(stages())


def test_a_lost_record_loses_no_row(bench: Workbench, tmp_path: Path) -> None:
    key = Arrivals(bench.store).take(video(tmp_path / "a.mp4")).video
    bench.make(never_passes(stages()["videos"]), [key], "run")
    bench.store.record("quarantine", f"videos/{key}", None)
    [found] = stopped(bench)
    assert (found["video"], found["attempts"], found["reproduce"]) == (key, 1, "")
    assert found["since"] == bench.store.current("videos", key).made_at


def test_dagster_shows_the_table_and_logs_it_again_only_when_it_changed(bench: Workbench, tmp_path: Path) -> None:
    broken_video(bench, tmp_path, "bad.mp4")
    with dg.DagsterInstance.ephemeral() as instance:
        shown = materialized(bench, instance)
        assert shown is not None
        table = shown["table"]
        assert isinstance(table, dg.TableMetadataValue)
        assert [column.name for column in table.schema.columns] == list(COLUMNS)
        assert [dict(record.data) for record in table.records] == list(stopped(bench))
        assert (shown["videos"].value, shown["failed"].value, shown["quarantined"].value) == (1, 1, 0)
        assert materialized(bench, instance) is None
        broken_video(bench, tmp_path, "worse.mp4")
        again = materialized(bench, instance)
        assert again is not None
        assert again["videos"].value == 2


def test_more_rows_than_the_event_log_should_keep_are_counted(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOWN", 1)
    for name in ("bad.mp4", "worse.mp4"):
        broken_video(bench, tmp_path, name)
    with dg.DagsterInstance.ephemeral() as instance:
        shown = materialized(bench, instance)
    assert shown is not None
    assert (len(shown["table"].records), shown["failed"].value, shown["not_shown"].value) == (1, 2, 1)
