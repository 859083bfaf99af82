"""`egoworld prompt` and `egoworld lens`: what a person says about one video."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from egoworld_assets.cli.names import find_video
from egoworld_assets.cli.refresh import show
from egoworld_assets.planning.totals import planned
from egoworld_resources.annotations.said import annotate, pictures_of, said, supposed
from egoworld_resources.annotations.text import parsed
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.inbox.origins import FileOrigin
from egoworld_resources.making.workbench import Workbench
from egoworld_runner.annotations import BadAnnotation, check

PROMPTS, LENS = "prompts", "lens"


@dataclass(frozen=True)
class Telling:
    """How a command answers. plan: it only says what would be stale."""

    console: Console
    plan: bool
    as_json: bool


@dataclass(frozen=True)
class Shown:
    """One object as the options of the command line show it; empty where an option was not given."""

    frame: int | None
    label: str | None
    name: str | None
    box: str | None
    inside: Sequence[str]
    outside: Sequence[str]

    @property
    def given(self) -> bool:
        return any((self.box, self.inside, self.outside))

    def as_json(self) -> dict[str, Any]:
        """The prompt as a sidecar has it. Raises BadConfiguration for what is no number."""
        found: dict[str, Any] = {"frame": self.frame, "label": self.label}
        found |= {"object": self.name} if self.name else {}
        found |= {"box": numbers(self.box, "--box")} if self.box else {}
        points = {"inside": self.inside, "outside": self.outside}
        return found | {which: [numbers(one, f"--{which}") for one in some] for which, some in points.items() if some}

    def meant(self, prompt: Mapping[str, Any]) -> bool:
        """Whether a prompt is of this frame and this object, as far as they were named."""
        name = self.name or self.label
        of = prompt.get("object", prompt["label"])
        return self.frame in (None, prompt["frame"]) and name in (None, of)


def numbers(text: str, option: str) -> list[float]:
    """Numbers between commas."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise BadConfiguration(f"{option} {text!r}: give numbers between commas, such as 120,80,64,48") from None
    return [int(one) if one.is_integer() else one for one in found]


def change_prompts(bench: Workbench, video: str, shown: Shown, remove: bool, output: Telling) -> None:
    """Add an object that was shown, or take back those that are meant; all where none is named."""
    if remove and shown.given:
        raise BadConfiguration("--remove takes --frame, --label and --object, to name what it takes back")
    if not remove and not shown.given:
        if any(one is not None for one in (shown.frame, shown.label, shown.name)):
            raise BadConfiguration("show the object by --box x,y,width,height, or by --inside x,y")
        return
    key = find_video(bench, video)
    before = said(bench.store, PROMPTS, key)
    kept = [one for one in (before.value if before and before.of_these_bytes else []) if not shown.meant(one)]
    change(bench, PROMPTS, key, kept if remove else [*kept, shown.as_json()], output)


def change_lens(bench: Workbench, video: str, file: Path | None, remove: bool, output: Telling) -> None:
    """Give a video the lens of a JSON file, or take it back."""
    if remove and file:
        raise BadConfiguration("give either a file or --remove")
    if remove or file:
        value = lens_in(file) if file else None
        change(bench, LENS, find_video(bench, video), value, output)


def lens_in(file: Path) -> Any:
    """The lens that a file describes, by itself or as a sidecar does. Raises BadConfiguration, Refused."""
    try:
        value = parsed(FileOrigin(file).head())
    except BadAnnotation as error:
        raise BadConfiguration(f"{file}: {error}") from error
    return value.get(LENS, value) if isinstance(value, Mapping) else value


def change(bench: Workbench, kind: str, video: str, value: Any, output: Telling) -> None:
    """Make a value what holds, or only say what that would make stale, and what it costs. Raises BadConfiguration."""
    facts = bench.store.recorded("videos", video) or {}
    if value is not None:
        try:
            check(kind, value, pictures_of(bench.store, video))
        except BadAnnotation as error:
            raise BadConfiguration(f"{facts['name']}: {error}") from error
    if output.plan:
        bench = Workbench(bench.settings, store=supposed(bench.store, kind, video, value, facts))
        show(planned(bench, [video]), output.console, output.as_json)
        return
    done = annotate(bench.store, kind, video, value, facts, f"egoworld {kind.removesuffix('s')}")
    if not output.as_json:
        output.console.print(escape(f"{facts['name']}: {kind} {done or 'unchanged'}"), soft_wrap=True, highlight=False)
        show(planned(bench, [video]), output.console)


def in_no_clip(bench: Workbench, video: str, prompts: Sequence[Mapping[str, Any]]) -> list[int]:
    """Frames of prompts of which nothing comes, because they were cut out; none before there are clips."""
    spans = bench.clips(bench.store.current("clips", video))
    frames = sorted({int(prompt["frame"]) for prompt in prompts})
    return [f for f in frames if spans and not any(start <= f < end for _, start, end in spans)]


def show_said(bench: Workbench, kind: str, video: str, output: Telling) -> None:
    """Print what holds of a kind about a video, who said it, when and where; nothing after a plan."""
    if output.plan:
        return
    console = output.console
    key = find_video(bench, video)
    found = said(bench.store, kind, key)
    made = found.manifest if found else None
    who = {"version": made.data_version, "at": made.made_at, **made.source} if made else {}
    note = "" if found is None or found.of_these_bytes else "about other bytes of this name, so it does not hold"
    cut_out = in_no_clip(bench, key, found.value) if found and found.of_these_bytes and kind == PROMPTS else []
    note = note or "; ".join(f"frame {frame} is in no clip: nothing comes of it" for frame in cut_out)
    if output.as_json:
        print(json.dumps({kind: found.value if found else None, "note": note, **who}, indent=2, ensure_ascii=False))
    elif found:
        for one in found.value if isinstance(found.value, list) else [found.value]:
            console.print_json(json.dumps(one, ensure_ascii=False), indent=None)
        console.print(escape(f"said {who['at']} by {who['said_by']} in {who['said_in']}"), soft_wrap=True)
        console.print(f"[yellow]{note}[/yellow]" if note else "", highlight=False)
    else:
        console.print(f"nobody gave {'any ' if kind == PROMPTS else 'a '}{kind}", highlight=False)
