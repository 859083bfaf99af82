"""The nightly refresh: what it asks for, and where it stops."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from egoworld_assets.stages import stages
from egoworld_assets.upkeep import contiguous, nightly_refresh, outdated
from egoworld_resources.arrivals import Arrivals
from egoworld_resources.workbench import Workbench
from tests.made_up import video, workbench

NIGHT = datetime(2026, 1, 2, 3, tzinfo=UTC)


def requests(bench: Workbench, at: datetime = NIGHT) -> list[dg.RunRequest]:
    bench.layout.dagster.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(bench.layout.dagster)) as instance:
        context = dg.build_schedule_context(instance, at, resources={"bench": bench})
        found = nightly_refresh(context)
        assert found is not None
        return [request for request in found if isinstance(request, dg.RunRequest)]


def test_it_asks_for_what_is_missing_and_no_more_videos_than_allowed(tmp_path: Path) -> None:
    bench = workbench(tmp_path, refresh_limit=2)
    for number in range(3):
        Arrivals(bench.store).take(video(tmp_path / f"{number}.mp4", shots=(8 + number,)))
    asked = requests(bench)
    assert len(asked) == 2
    names = [key.to_user_string() for key in asked[0].asset_selection or []]
    assert names == list(stages()), "everything, inputs first"


def test_what_is_fresh_or_failed_under_the_same_recipe_is_left_alone(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    (tmp_path / "bad.mp4").write_text("no pictures in here")
    bad = Arrivals(bench.store).take(tmp_path / "bad.mp4").video
    good = Arrivals(bench.store).take(video(tmp_path / "good.mp4")).video
    for stage in ("videos", "clips"):
        bench.make(stages()[stage], [bad, good], "run")
    assert requests(bench)[0].partition_key == good
    assert outdated(bench, stages().values(), bad) == []
    assert "clips" not in outdated(bench, stages().values(), good)


def test_ranges_name_neighbours_only() -> None:
    assert list(contiguous("abcdef", {"a", "b", "d", "f"})) == [["a", "b"], ["d"], ["f"]]
