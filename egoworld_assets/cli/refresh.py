"""`egoworld stale` and the plan of `egoworld refresh`: what would be made, what it costs, what fits into some hours."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.status import coloured
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.plan import Failures, Plan, Step, by_video, within
from egoworld_assets.planning.totals import planned, seconds, total, totals
from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.making.views import view_of
from egoworld_resources.making.workbench import Workbench

SHOWN = 20
WHEN = {True: "certainly", False: "if its input changes"}


def failed(
    bench: Workbench, videos: Sequence[str], stage: str | None, console: Console, retry: bool
) -> frozenset[tuple[str, str]]:
    """Stages of videos that failed as they are now, at one stage or any; prints how many are asked for again.

    What is quarantined is not among them: there is an artifact, and its checks would say the same of it again. What
    waits for this machine is not either: it is tried again by itself. Raises BadConfiguration and UnknownName.
    """
    if not retry:
        raise BadConfiguration("--stage names what --retry-failed asks for; give both")
    if stage is not None and stage not in stages():
        raise UnknownName("stage", stage, stages())
    wanted = [one for name, one in stages().items() if stage in (None, name)]
    view = view_of(bench.snapshot(), wanted, videos)
    found = frozenset(
        (one.name, video)
        for group in view.groups()
        for one in wanted
        if view.state(one, group.example).condition == "failed"
        for video in group.videos
    )
    counts = Counter(name for name, _ in found)
    named = ", ".join(f"{counts[name]} at {name}" for name in stages() if name in counts)
    said = f"asked again: {len(found)} that failed ({named})" if found else "nothing failed"
    console.print(said, highlight=False)
    return found


def as_data(found: Plan, licences: Sequence[str] = ()) -> dict[str, Any]:
    """The plan for programs. Seconds are null where nothing was measured, and such steps are counted as unknown.

    dataset: licences and rights on its card that no longer hold.
    """
    return {
        "steps": [{**asdict(step), "why": step.why} for step in found.steps],
        "stages": {asset: asdict(some) for asset, some in totals(found).items()},
        "total": asdict(total(found, found.steps)),
        "faults": found.faults,
        "dataset": list(licences),
    }


def show(found: Plan, console: Console, as_json: bool = False, licences: Sequence[str] = ()) -> None:
    """Print a plan: its steps, what each stage costs, what could not be judged, and what is old on the card."""
    if as_json:
        print(json.dumps(as_data(found, licences), indent=2, ensure_ascii=False))
        return
    for change in licences[:SHOWN]:
        console.print(f"dataset [yellow]stale[/yellow]: licence: {escape(change)}", soft_wrap=True, highlight=False)
    if len(licences) > SHOWN:
        console.print(f"dataset [yellow]stale[/yellow]: licence: {len(licences) - SHOWN} more", highlight=False)
    for fault in found.faults:
        console.print(f"[red]cannot be judged:[/red] {escape(fault)}", soft_wrap=True, highlight=False)
    if found.steps:
        few = len(found.videos) <= SHOWN
        console.print(steps_table(found.steps) if few else grouped_table(found.steps))
        console.print(totals_table(found))
    elif not found.faults and not licences:
        console.print("nothing is missing or stale")


def steps_table(steps: Sequence[Step]) -> Table:
    """One line per step."""
    table = Table("video", "asset", "state", "to be made", "why", "seconds", "GPU seconds", header_style="bold")
    last = ""
    for step in steps:
        if step.video != last:
            table.add_section()
        costs = (seconds(step.seconds), seconds(step.gpu_seconds))
        table.add_row(
            step.video if step.video != last else "",
            step.asset,
            coloured(step.state),
            WHEN[step.certain],
            escape(step.why),
            *costs,
        )
        last = step.video
    return table


def grouped_table(steps: Sequence[Step]) -> Table:
    """One line per asset and reason, for more videos than anybody reads one by one; costs are what is known of them."""
    table = Table("videos", "asset", "state", "to be made", "why", "seconds", "GPU seconds", header_style="bold")
    groups: dict[tuple[str, str, bool, str], list[Step]] = {}
    for step in steps:
        groups.setdefault((step.asset, step.state, step.certain, step.why), []).append(step)
    for (asset, state, certain, why), some in groups.items():
        known = [step.seconds for step in some if step.seconds is not None]
        on_gpu = [step.gpu_seconds for step in some if step.gpu_seconds is not None]
        costs = (seconds(sum(known) if known else None), seconds(sum(on_gpu) if on_gpu else None))
        table.add_row(f"{len(some):,}", asset, coloured(state), WHEN[certain], escape(why), *costs)
    return table


def totals_table(found: Plan) -> Table:
    """One line per stage and one for all, model loads included; costs that are not known are counted, not guessed."""
    table = Table(
        "stage", "certain", "possible", "at least (s)", "at most (s)", "GPU (s)", "load (s)", header_style="bold"
    )
    for name, some in [*totals(found).items(), ("all", total(found, found.steps))]:
        if name == "all":
            table.add_section()
        note = f" + {some.unknown} unknown" if some.unknown else ""
        table.add_row(
            name,
            str(some.certain),
            str(some.steps - some.certain),
            f"{some.seconds_certain:,.1f}{note}",
            f"{some.seconds:,.1f}{note}",
            f"{some.gpu_seconds:,.1f}",
            seconds(some.load_seconds),
        )
    return table


def chosen(
    bench: Workbench,
    videos: Sequence[str],
    console: Console,
    hours: float | None,
    listed: bool,
    retried: Failures = (),
) -> list[str]:
    """The videos that fit into a refresh of a number of hours; prints what it leaves out and, on request, the plan."""
    found = planned(bench, videos, retried)
    if listed:
        show(found, console)
    if hours is None or not found.steps:
        if not listed:
            show(found, console)
        return found.videos
    fitting = within(found, hours)
    console.print(f"{len(fitting)} of {len(found.videos)} videos fit into {hours:g} h", highlight=False)
    left = {video: steps for video, steps in by_video(found).items() if video not in fitting}
    for video in list(left)[:SHOWN]:
        console.print(f"left: {video}: {why_left(left[video])}", soft_wrap=True, highlight=False)
    if len(left) > SHOWN:
        console.print(f"left: {len(left) - SHOWN} more, see `egoworld stale`", highlight=False)
    if not fitting and any(step.seconds is None for steps in left.values() for step in steps):
        console.print("costs get known once one video went through: `egoworld refresh VIDEO`", highlight=False)
    return fitting


def why_left(steps: Sequence[Step]) -> str:
    """Why a video did not fit."""
    unknown = [step.asset for step in steps if step.seconds is None]
    if unknown:
        return f"cost of {', '.join(unknown)} unknown"
    return f"takes {sum(step.seconds or 0.0 for step in steps):,.1f} s"
