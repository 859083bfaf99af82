"""`egoworld reproduce`: which artifacts come out the same when made again, and what differs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.names import artifact, find_video
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.errors import BadConfiguration, EgoworldError
from egoworld_resources.making.reproduce import Reproduction, reproduce
from egoworld_resources.making.workbench import Workbench

COLOURS = {"same": "green", "same but for": "green", "differs": "red", "refused": "red"}


@dataclass(frozen=True)
class Answer:
    """What became of one artifact. state: same, same but for (what is declared to vary), differs, refused."""

    video: str
    asset: str
    data_version: str
    state: str
    why: Sequence[str]
    seconds: float | None = None


def artifacts(bench: Workbench, name: str) -> list[Manifest]:
    """The artifact VIDEO/ASSET, or every one that VIDEO has, in data-flow order; raises BadConfiguration for none."""
    if name.rpartition("/")[2] in stages():
        return [artifact(bench, stages().values(), name)]
    video = find_video(bench, name)
    found = [made for stage in stages() if (made := bench.store.current(stage, video))]
    if not found:
        raise BadConfiguration(f"nothing has been made of {name} yet; `egoworld refresh {name}` makes it")
    return found


def use_cores(count: int | None) -> None:
    """Let this process and what it starts use at most this many cores; raises BadConfiguration for more than it has."""
    own = sorted(os.sched_getaffinity(0))
    if count is not None and count > len(own):
        raise BadConfiguration(f"--cores {count}: this process has {len(own)}")
    if count is not None:
        os.sched_setaffinity(0, own[:count])


def answers(bench: Workbench, made: Sequence[Manifest]) -> Iterator[Answer]:
    """Make each again, one after the other."""
    for manifest in made:
        key = (manifest.video, manifest.asset, manifest.data_version)
        try:
            yield answer(reproduce(bench, manifest))
        except EgoworldError as error:
            yield Answer(*key, "refused", [str(error)])


def answer(found: Reproduction) -> Answer:
    """What a reproduction came to."""
    made = found.manifest
    state = "differs" if not found.same else "same but for" if found.declared else "same"
    return Answer(
        made.video, made.asset, made.data_version, state, [*found.differences, *found.declared], found.seconds
    )


def show(bench: Workbench, name: str, console: Console, as_json: bool) -> bool:
    """Make artifacts again and print what came of it; returns whether everything came out the same."""
    made = artifacts(bench, name)
    found: list[Answer] = []
    for one in answers(bench, made):
        found.append(one)
        if not as_json:
            console.print(f"{one.asset}: [{COLOURS[one.state]}]{one.state}[/]", highlight=False)
    if as_json:
        print(json.dumps([as_data(one) for one in found], indent=2, ensure_ascii=False))
    else:
        console.print(table(found))
    return all(one.state in ("same", "same but for") for one in found)


def as_data(one: Answer) -> dict[str, Any]:
    """An answer for programs."""
    return {**vars(one), "why": list(one.why)}


def table(found: Sequence[Answer]) -> Table:
    """One line per artifact."""
    shown = Table("asset", "data version", "made again", "seconds", "what differs", header_style="bold")
    for one in found:
        seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
        coloured = f"[{COLOURS[one.state]}]{one.state}[/]"
        shown.add_row(one.asset, one.data_version[:12], coloured, seconds, escape("\n".join(one.why)))
    return shown
