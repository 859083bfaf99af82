"""What status says of many videos."""

import json
from pathlib import Path

from rich.console import Console

from egoworld_assets.cli.status import FEW, REASONS, grouped_table, json_lines, listed_one_by_one, status_table
from egoworld_assets.clips import STAGE as CLIPS
from egoworld_assets.videos import STAGE as VIDEOS
from egoworld_resources.making.overview import by_index
from egoworld_resources.making.views import original
from egoworld_resources.making.workbench import Workbench
from tests.made_up import workbench


def entries(videos: int) -> list[dict[str, str]]:
    """Two assets of every video; masks of all but the first failed, each for a reason of its own."""
    reasons = ["", *(f"reason {number}" for number in range(1, videos))]
    return [
        entry
        for number, why in enumerate(reasons)
        for entry in (
            {"video": f"v{number}", "asset": "clips", "state": "fresh", "why": ""},
            {"video": f"v{number}", "asset": "masks", "state": "failed" if why else "fresh", "why": why},
        )
    ]


def each(found: list[dict[str, str]]) -> list[tuple[int, dict[str, str]]]:
    """Videos of which no two stand alike."""
    return [(1, entry) for entry in found]


def lines(bench: Workbench, videos: int) -> list[list[str]]:
    console = Console(width=200)
    few = videos <= FEW
    table = listed_one_by_one(bench, entries(videos)) if few else grouped_table(bench, each(entries(videos)))
    with console.capture() as capture:
        console.print(table)
    rows = [line.strip("│").split("│") for line in capture.get().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_few_videos_are_listed_one_by_one(tmp_path: Path) -> None:
    rows = lines(workbench(tmp_path), FEW)
    assert len(rows) == 2 * FEW
    assert rows[-1] == ["", "masks", "failed", f"reason {FEW - 1}"]


def test_many_are_reported_by_asset_state_and_reason_and_none_is_left_out(tmp_path: Path) -> None:
    videos = FEW + 10
    rows = lines(workbench(tmp_path), videos)
    assert rows[0] == [str(videos), "v0", "clips", "fresh", ""]
    assert rows[1] == ["1", "v0", "masks", "fresh", ""]
    assert [row[4] for row in rows[2 : 2 + REASONS]] == [f"reason {number}" for number in range(1, 1 + REASONS)]
    assert rows[-1][:2] == [str(videos - 1 - REASONS), f"v{1 + REASONS}"]
    assert f"{videos - 1 - REASONS} other reasons" in rows[-1][4]
    assert sum(int(row[0]) for row in rows) == 2 * videos


def test_videos_that_stand_alike_are_counted_together(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    for number in range(FEW + 5):
        facts = {"name": f"{number}.mp4", "sha256": str(number), "bytes": 1, "suffix": ".mp4"}
        bench.store.record("videos", f"v{number:02d}", facts)
    view = by_index(bench, original(bench), [VIDEOS, CLIPS], None)
    assert view is not None
    console = Console(width=200)
    with console.capture() as capture:
        console.print(status_table(bench, [VIDEOS, CLIPS], view))
    rows = [row.strip("│").split("│") for row in capture.get().splitlines() if row.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [str(FEW + 5), "v00", "videos", "missing", "never made"],
        [str(FEW + 5), "v00", "clips", "blocked", "videos has not been made"],
    ]


def test_files_that_are_no_videos_are_reported_after_the_assets(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    bench.store.record("duplicates", "twin", {"name": "[b]twin", "duplicate_of": "v0"})
    console = Console(width=200)
    with console.capture() as capture:
        console.print(grouped_table(bench, each(entries(2))))
    assert "[b]twin" in capture.get().splitlines()[-2]
    assert "same bytes as v0" in capture.get()


def test_json_lines_are_one_object_with_an_entry_a_line() -> None:
    parts = {"assets": [{"why": "ü"}, {"why": "b"}], "none": [], "one": [{"a": 1}]}
    text = list(json_lines(parts))
    assert json.loads("\n".join(text)) == parts
    assert '{"why": "ü"},' in text
    assert json.loads("\n".join(json_lines({"none": []}))) == {"none": []}
