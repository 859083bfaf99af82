"""What status says of many videos."""

import json
from pathlib import Path

from rich.console import Console

from egoworld_assets.cli.status import FEW, REASONS, grouped_table, json_lines, status_table
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


def lines(bench: Workbench, videos: int) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(status_table(bench, entries(videos)))
    rows = [line.strip("│").split("│") for line in capture.get().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_few_videos_are_told_one_by_one(tmp_path: Path) -> None:
    rows = lines(workbench(tmp_path), FEW)
    assert len(rows) == 2 * FEW
    assert rows[-1] == ["", "masks", "failed", f"reason {FEW - 1}"]


def test_many_are_told_by_asset_state_and_reason_and_none_is_left_out(tmp_path: Path) -> None:
    videos = FEW + 10
    rows = lines(workbench(tmp_path), videos)
    assert rows[0] == [str(videos), "v0", "clips", "fresh", ""]
    assert rows[1] == ["1", "v0", "masks", "fresh", ""]
    assert [row[4] for row in rows[2 : 2 + REASONS]] == [f"reason {number}" for number in range(1, 1 + REASONS)]
    assert rows[-1][:2] == [str(videos - 1 - REASONS), f"v{1 + REASONS}"]
    assert f"{videos - 1 - REASONS} other reasons" in rows[-1][4]
    assert sum(int(row[0]) for row in rows) == 2 * videos


def test_files_that_are_no_videos_are_told_after_the_assets(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    bench.store.record("duplicates", "twin", {"name": "[b]twin", "duplicate_of": "v0"})
    console = Console(width=200)
    with console.capture() as capture:
        console.print(grouped_table(bench, entries(2)))
    assert "[b]twin" in capture.get().splitlines()[-2]
    assert "same bytes as v0" in capture.get()


def test_json_lines_are_one_object_with_an_entry_a_line() -> None:
    parts = {"assets": [{"why": "ü"}, {"why": "b"}], "none": [], "one": [{"a": 1}]}
    text = list(json_lines(parts))
    assert json.loads("\n".join(text)) == parts
    assert '{"why": "ü"},' in text
    assert json.loads("\n".join(json_lines({"none": []}))) == {"none": []}
