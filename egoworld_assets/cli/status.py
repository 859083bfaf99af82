"""What people read in a terminal: status, lineage, and the table at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import DamagedArtifact, EgoworldError
from egoworld_resources.faults.waits import in_words
from egoworld_resources.inbox.sidecars import video_beside, without_video
from egoworld_resources.making.views import View
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.rights.source_videos import UNKNOWN, Rights, rights_of

COLOURS = {
    "fresh": "green",
    "stale": "yellow",
    "missing": "dim",
    "failed": "red",
    "quarantined": "magenta",
    "blocked": "dim",
    "duplicate": "cyan",
    "refused": "red",
    "waiting": "dim",
    "aside": "dim",
}


FEW = 20
"""Up to this many videos are listed one by one."""

REASONS = 5


def waiting(bench: Workbench) -> list[dict[str, Any]]:
    """Every fault of this machine, an env or ours for which something waits, once."""
    return [
        {
            "cause": one.cause.title,
            "why": one.cause.detail,
            "do": one.cause.fix,
            "stages": one.stages,
            "videos": one.videos,
            "since": iso(one.since),
            "next_try": None if one.gone else iso(one.next),
            "tries": one.tries,
        }
        for one in bench.waits.waiting()
    ]


def iso(at: float) -> str:
    """A time (s since 1970) as text for programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def print_waiting(bench: Workbench, console: Console) -> None:
    """One line for each fault for which something waits."""
    for one in bench.waits.waiting():
        console.print(f"[yellow]waits:[/yellow] {escape(in_words(one))}", soft_wrap=True, highlight=False)


def status_of(bench: Workbench, stages: Iterable[Stage], video: str, view: View | None = None) -> list[dict[str, Any]]:
    """One entry per stage: asset, state, why, and what there is. view: where to look it up; default the manifests."""
    entries: list[dict[str, Any]] = []
    rights = known_rights(bench, video)
    waits = bench.waits.of(video)
    for stage in stages:
        try:
            state = (view or bench).state(stage, video)
            condition, why, made = state.condition, state.why, state.manifest
        except EgoworldError as error:  # of the env, the configuration or the store, never of the video
            condition, why, made = "missing", str(error), None
        held = waits.get(stage.name, "") if condition in ("missing", "stale") else ""
        why = f"waits: {held}" if held else why
        if condition == "blocked":
            why = root_cause(stage, entries) or why
        entries.append(
            {
                "video": video,
                "asset": stage.name,
                "state": condition,
                "why": why,
                "rights": rights.licence,
                "waits": held,
                "env": bench.env_of(stage),
                "label": made.recipe.label if made else "",
                "data_version": made.data_version if made else None,
                "rows": sum(made.rows.values()) if made else 0,
                "seconds": made.seconds if made else 0.0,
                "folder": bench.store.location(made) if made else None,
                "again": bench.rerun_command(stage, video) if condition in ("failed", "quarantined") else "",
            }
        )
    return entries


def entries_of(bench: Workbench, stages: Sequence[Stage], view: View) -> Iterator[dict[str, Any]]:
    """One entry per video and stage. Of few videos, fresh ones say what is missing in them, by their manifest."""
    few = len(view.videos) <= FEW
    for video in view.videos:
        for entry in status_of(bench, stages, video, view):
            made = bench.store.current(entry["asset"], video) if few and entry["state"] == "fresh" else None
            yield {**entry, "why": made.remark} if made else entry


def known_rights(bench: Workbench, video: str) -> Rights:
    """The rights in a video; unknown when what is recorded of it is damaged, which its assets say."""
    try:
        return rights_of(bench.store, bench.settings.rights, video)
    except DamagedArtifact:
        return UNKNOWN


def root_cause(stage: Stage, before: Sequence[dict[str, Any]]) -> str:
    """Why a stage is blocked: the first of the assets behind it that failed or is quarantined, and its reason."""
    inputs = [entry for entry in before if entry["asset"] in stage.inputs]
    for entry in inputs:
        if entry["state"] in ("failed", "quarantined"):
            return f"{entry['asset']} {entry['state']}: {entry['why']}"
        if entry["waits"]:
            return f"{entry['asset']} {entry['why']}"
    return next((entry["why"] for entry in inputs if entry["state"] == "blocked"), "")


def duplicates(bench: Workbench) -> list[dict[str, Any]]:
    """Files that were not taken because their bytes are another video's."""
    return [{"video": key, **facts} for key, facts in bench.store.records("duplicates")]


def left_out(bench: Workbench) -> list[dict[str, Any]]:
    """Files that are no video: refused, in the inbox and not to be taken (yet), or about one that has not arrived."""
    refused = [facts for _, facts in bench.store.records("refusals")]
    entries = [{"name": facts["name"], "state": "refused", "why": facts["reason"]} for facts in refused]
    for _, facts in without_video(bench.store):
        why = f"it is about {video_beside(facts['name'])!r}, which has not arrived"
        entries.append({"name": facts["name"], "state": "waiting", "why": why})
    return entries + [asdict(entry) for entry in bench.inbox.left_out()]


def status_table(bench: Workbench, stages: Sequence[Stage], view: View) -> Table:
    """One line per video and asset in data-flow order, then the files that did not become videos.

    More videos than anybody reads one by one are grouped by asset, state and reason.
    """
    if len(view.videos) > FEW:
        return grouped_table(bench, alike(bench, stages, view))
    return listed_one_by_one(bench, list(entries_of(bench, stages, view)))


def alike(bench: Workbench, stages: Sequence[Stage], view: View) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of one of the videos that stand alike, each with how many those are."""
    items = (item for one in bench.waits.waiting() for item in bench.waits.items(one.cause.key))
    for group in view.groups({(item.stage, item.video): item.cause for item in items}):
        for entry in status_of(bench, stages, group.example, view):
            yield len(group.videos), entry


def listed_one_by_one(bench: Workbench, entries: Sequence[dict[str, Any]]) -> Table:
    """One line per video and asset."""
    table = Table("video", "asset", "state", "why", header_style="bold")
    names = dict(bench.store.records("videos"))
    last = ""
    for entry in entries:
        if entry["video"] != last:
            table.add_section()
        shown = names.get(entry["video"], {}).get("name", entry["video"]) if entry["video"] != last else ""
        last = entry["video"]
        shown += f"\nrights: {entry['rights'] or 'unknown'}" if shown and "rights" in entry else ""
        table.add_row(escape(shown), entry["asset"], coloured(entry["state"]), escape(entry["why"]))
    for name, state, why in no_videos(bench):
        table.add_section()
        table.add_row(escape(name), "", coloured(state), escape(why))
    return table


def grouped_table(bench: Workbench, entries: Iterable[tuple[int, dict[str, Any]]]) -> Table:
    """One line per asset, state and reason with the number of videos and one of them, then the same of other files.

    Of each asset and state, the most frequent reasons are listed and the others counted.
    """
    table = Table("videos", "for example", "asset", "state", "why", header_style="bold")
    named = ((number, entry["video"], entry["asset"], entry["state"], entry["why"]) for number, entry in entries)
    counts: dict[tuple[str, str], Counter[str]] = {}
    example: dict[tuple[str, str, str], str] = {}
    others = ((1, name, "", state, why) for name, state, why in no_videos(bench))
    for number, video, asset, state, why in chain(named, others):
        counts.setdefault((asset, state), Counter())[why] += number
        example.setdefault((asset, state, why), video)
    assets = list(dict.fromkeys(asset for asset, _ in counts))
    last = assets[0] if assets else ""
    for (asset, state), by_reason in sorted(counts.items(), key=lambda item: assets.index(item[0][0])):
        if asset != last:
            table.add_section()
        last = asset
        reasons = by_reason.most_common()
        for why, videos in reasons[:REASONS]:
            table.add_row(f"{videos:,}", escape(example[asset, state, why]), asset, coloured(state), escape(why))
        others = reasons[REASONS:]
        if others:
            why = f"{len(others):,} other reasons: egoworld status VIDEO, or --json"
            videos = sum(count for _, count in others)
            table.add_row(f"{videos:,}", escape(example[asset, state, others[0][0]]), asset, coloured(state), why)
    return table


def no_videos(bench: Workbench) -> list[tuple[str, str, str]]:
    """Files that did not become videos: name, state, why. Of many that were refused one line says how to list them."""
    twins = [(entry["name"], "duplicate", f"same bytes as {entry['duplicate_of']}") for entry in duplicates(bench)]
    others = left_out(bench)
    refused = [entry for entry in others if entry["state"] == "refused"]
    if len(refused) > REASONS:
        line = {"name": f"{len(refused):,} files", "state": "refused", "why": "egoworld status --refused names them"}
        others = [line, *(entry for entry in others if entry["state"] != "refused")]
    return twins + [(entry["name"], entry["state"], entry["why"]) for entry in others]


def refused_table(bench: Workbench) -> Table:
    """Every file that was refused, and why."""
    table = Table("file", "why", header_style="bold")
    for entry in left_out(bench):
        if entry["state"] == "refused":
            table.add_row(escape(entry["name"]), escape(entry["why"]))
    return table


def json_lines(parts: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    """Lists by name as one JSON object, an entry a line: many times faster than indenting each."""
    between = "{"
    for name, entries in parts.items():
        yield f"{between}{json.dumps(name)}: ["
        last = ""
        for entry in entries:
            if last:
                yield f"{last},"
            last = json.dumps(entry, ensure_ascii=False)
        if last:
            yield last
        between = "], "
    yield "]}"


def run_table(entries: Sequence[dict[str, Any]], stages: Iterable[Stage]) -> Table:
    """One line per stage over some videos: who served it, what came out, what it cost, how it stands."""
    table = Table("stage", "model env", "rows", "seconds", "state", header_style="bold")
    for stage in stages:
        found = [entry for entry in entries if entry["asset"] == stage.name]
        env = found[0]["env"] + (f" ({found[0]['label']})" if found[0]["label"] else "")
        states = Counter(entry["state"] for entry in found)
        shown = ", ".join(f"{n} {coloured(s)}" if len(found) > 1 else coloured(s) for s, n in states.items())
        table.add_row(
            stage.name, env, f"{sum(e['rows'] for e in found):,}", f"{sum(e['seconds'] for e in found):.1f}", shown
        )
    return table


def coloured(state: str) -> str:
    """A state in its colour."""
    colour = COLOURS.get(state, "white")
    return f"[{colour}]{state}[/{colour}]"


def print_where_to_look(bench: Workbench, console: Console, entries: Sequence[dict[str, Any]]) -> None:
    """Why something did not get through, and the places with results."""
    for entry in entries:
        if entry["state"] in ("failed", "quarantined", "stale"):
            console.print(
                f"{entry['video']}/{entry['asset']} {coloured(entry['state'])}: {escape(entry['why'])}", soft_wrap=True
            )
            if entry["again"]:
                console.print(f"  by hand: {entry['again']}", soft_wrap=True, highlight=False)
    console.print("\nwhere to look:")
    for entry in entries:
        if entry["asset"] == "previews" and entry["folder"]:
            sheet = escape(f"{entry['folder']}/contact_sheet.png")
            console.print(f"  contact sheet  {sheet}", soft_wrap=True, highlight=False)
    if (bench.layout.dataset / "README.md").is_file():
        console.print(f"  dataset        {escape(str(bench.layout.dataset))}", soft_wrap=True, highlight=False)
    console.print(
        "  everything     make ui, egoworld status, egoworld lineage VIDEO/ASSET, egoworld view VIDEO", highlight=False
    )
