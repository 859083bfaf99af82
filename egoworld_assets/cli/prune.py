"""`egoworld prune`: the old part of Dagster's event log, shown or removed."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.filesize import decimal

from egoworld_assets.automation.event_log_retention import prune
from egoworld_assets.orchestration.instance import instance_of
from egoworld_resources.making.workbench import Workbench


def prune_event_log(bench: Workbench, console: Console, days: int | None, apply: bool, as_json: bool) -> None:
    """Print what would be removed of runs older than ``days`` (default: the setting); with ``apply`` remove it."""
    days = bench.settings.event_log_days if days is None else days
    with instance_of(bench) as instance:
        found = prune(instance, days, apply, seconds=float("inf"))
    if as_json:
        print(json.dumps({"days": days, "applied": apply, **asdict(found)}))
        return
    if days == 0:
        console.print("event_log_days is 0: everything is kept")
        return
    done = "are pruned" if apply else "would be pruned (dry run; --apply does it)"
    console.print(
        f"{found.looked_at} runs ended more than {days} days ago: {found.thinned} lose their log and step events, "
        f"{found.deleted} go altogether (nothing rests on them)",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"{found.events} events, {decimal(found.bytes)} {done}", highlight=False)
