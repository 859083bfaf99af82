"""`egoworld rights`: under which licence videos were given."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.names import find_video
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.rights.source_videos import checked, read_csv, rights_of, state_rights, take_back


def change_rights(
    bench: Workbench, video: str | None, licence: str | None, source: str, table: Path | None, remove: bool
) -> None:
    """State or take back rights; nothing is recorded when anything in it is wrong."""
    if sum((licence is not None, table is not None, remove)) > 1:
        raise BadConfiguration("give one of --licence, --csv and --remove")
    if table is not None:
        rows = [(find_video(bench, name), given) for name, given in read_csv(table)]
        twice = sorted({key for key, _ in rows if sum(key == other for other, _ in rows) > 1})
        if twice:
            raise BadConfiguration(f"{table} names {', '.join(twice)} more than once")
        for key, given in rows:
            state_rights(bench.store, key, given.licence, given.source)
    elif licence is not None or remove:
        if video is None:
            raise BadConfiguration("name the video; for many give --csv, for a folder see [rights] in the README")
        key = find_video(bench, video)
        if licence is None:
            take_back(bench.store, key)
        else:
            state_rights(bench.store, key, checked(licence), source)
    elif source:
        raise BadConfiguration("--source goes with --licence")


def show_rights(bench: Workbench, video: str | None, console: Console, as_json: bool) -> None:
    """Print the rights in videos and what they allow."""
    licensing = bench.licences.licensing
    wanted = [find_video(bench, video)] if video else bench.store.keys("videos")
    table = Table("video", "rights", "commercial use", "source", "stated by", "at", header_style="bold")
    listed: list[dict[str, str]] = []
    for key in wanted:
        found = rights_of(bench.store, bench.settings.rights, key)
        judged = licensing.judge(found.licence)
        why = found.note or judged.reason
        name = str((bench.store.recorded("videos", key) or {}).get("name", key))
        listed.append({"video": key, "name": name, **asdict(found), "terms": judged.terms.value, "why": why})
        stated = f"{found.by} ({found.stated})" if found.stated not in ("", "video") else found.by
        allowed = judged.terms.value if judged.commercial and not found.note else f"{judged.terms.value}: {why}"
        table.add_row(*map(escape, (name, found.licence or "unknown", allowed, found.source, stated, found.at)))
    if as_json:
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    else:
        console.print(table if listed else "no videos yet")
