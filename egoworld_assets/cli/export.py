"""`egoworld export`: handing the dataset out, and what its card says that no longer holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from egoworld_assets.dataset import merged_episodes
from egoworld_assets.dataset import stale_licences as stale_in_dataset
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.leases.locks import locked
from egoworld_resources.making.workbench import Workbench


def export_dataset(
    bench: Workbench, to: Path, console: Console, *, commercial: bool, leave_out: bool, as_json: bool
) -> None:
    """Copy the merged dataset to a folder under the current licences; raises LicenceRefused, BadConfiguration."""
    from egoworld_resources.dataset.export import export

    if leave_out and not commercial:
        raise BadConfiguration("--exclude-noncommercial goes with --commercial")
    merged = bench.layout.dataset
    with locked(merged.with_suffix(".lock")), bench.store.reading():
        found = merged_episodes(bench)
        done = export(merged, found, to.absolute(), commercial=commercial, leave_out=leave_out)
    report = done.report
    if as_json:
        left_out = {video: list(why) for video, why in done.left_out.items()}
        facts = {"folder": str(to.absolute()), "commercial": report.commercial, "videos": list(report.videos)}
        print(json.dumps({**facts, "episodes": report.episodes, "left_out": left_out}, indent=2, ensure_ascii=False))
        return
    for video, why in done.left_out.items():
        console.print(f"left out: {escape(video)}: {escape('; '.join(why))}", soft_wrap=True, highlight=False)
    terms = "commercial use is allowed" if report.commercial else "NOT for commercial use, see README.md there"
    said = f"{to.absolute()}: {len(report.videos)} videos, {report.episodes} episodes, {report.frames} frames; {terms}"
    console.print(escape(said), soft_wrap=True, highlight=False)


def stale_licences(bench: Workbench, videos: Sequence[str] | None) -> list[str]:
    """What the dataset's card says of licences that no longer holds; videos: only these, None: all."""
    changes = stale_in_dataset(bench)
    return changes if videos is None else [one for one in changes if one.partition(":")[0] in videos]
