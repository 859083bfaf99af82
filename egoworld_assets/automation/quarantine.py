"""quarantine: every video that stopped somewhere, why, how often it was tried, and how to see it happen again."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import dagster as dg

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.plan import WANTS_WORK
from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import EgoworldError, StoreRefused, StoreUnreachable
from egoworld_resources.faults.waits import Item, Waiting, clock
from egoworld_resources.making.state import State
from egoworld_resources.making.views import Group, View, view_of
from egoworld_resources.making.workbench import Workbench

STOPPED = ("failed", "quarantined")
SHOWN = 500
"""Rows in the event log, which keeps every one of these tables; the counts are of all."""
COLUMNS = {
    "video": "key of the video; `egoworld status` takes it",
    "name": "the file as it arrived",
    "stage": "where it stopped: nothing behind it is made",
    "state": "failed: nothing came out. quarantined: what came out did not pass its checks",
    "reason": "of the runner, or of the checks",
    "attempts": "times that it was tried in a row without success",
    "since": "the first of these attempts, UTC",
    "reproduce": "command that runs it again by hand, from the kept job",
}


@dg.asset(group_name="upkeep", kinds={"table"}, owners=["team:egoworld"], output_required=False)
def quarantine(
    context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Videos that failed or are quarantined under today's code, lock, weights, parameters and inputs; and, each once,
    the faults of this machine that others wait for, which are tried again by themselves.

    A row goes when any of these changes: then the next refresh tries the video again. A table that is the same as the
    last one is not logged again.
    """
    try:
        forget_settled(bench)
        rows = list(stopped(bench.snapshot()))
        known = described(rows)
    except (StoreUnreachable, StoreRefused) as error:  # what waits stands in a file of this machine
        rows, known = [], {"unknown": f"what failed or is quarantined: {error}"}
    waiting = bench.waits.waiting()
    facts = [[one.cause.key, one.since, one.videos] for one in waiting]
    version = digest([known.get("unknown") or rows, facts])[:32]
    last = context.instance.get_latest_materialization_event(context.asset_key)
    logged = last.asset_materialization if last else None
    if logged and (logged.tags or {}).get("dagster/data_version") == version:
        context.log.info(f"the same {len(rows)} rows as before")
        return
    yield dg.MaterializeResult(metadata={**known, **held_up(waiting)}, data_version=dg.DataVersion(version))


def stopped(bench: Workbench) -> Iterator[dict[str, str | int]]:
    """One row per video and stage that failed or is quarantined, in the order of videos and data flow.

    Every artifact is looked at, not the records of failures alone: a record may be lost, a manifest is the truth.
    """
    view = view_of(bench, list(stages().values()), None)
    found = [one for group in view.groups() for one in stopped_in(view, group)]
    for video, stage, state in sorted(found, key=lambda one: one[0]):
        name = (view.recorded("videos", video) or {}).get("name", video)
        kind = "failures" if state.condition == "failed" else "quarantine"
        record = bench.store.recorded(kind, f"{stage.name}/{video}") or {}
        if not record and kind == "quarantine" and (made := bench.store.current(stage.name, video)):
            record = {"at": made.made_at}
        yield row(video, name, stage, state.condition, state.why, record)


def stopped_in(view: View, group: Group) -> Iterator[tuple[str, Stage, State[Artifact]]]:
    """Which videos of a group stopped at which stages; of those that stand alike the first one decides."""
    for stage in stages().values():
        with suppress(EgoworldError):  # of the env, the configuration or the store, never of the video
            for video in group.videos:
                state = view.state(stage, video)
                if state.condition not in STOPPED:
                    break
                yield video, stage, state


def row(video: str, name: str, stage: Stage, state: str, why: str, record: dict[str, Any]) -> dict[str, str | int]:
    """A row of COLUMNS; record: what the workbench noted when it happened."""
    return {
        "video": video,
        "name": name,
        "stage": stage.name,
        "state": state,
        "reason": why,
        "attempts": int(record.get("attempts", 1)),
        "since": str(record.get("since") or record.get("at", "")),
        "reproduce": str(record.get("again", "")),
    }


def held_up(waiting: Sequence[Waiting]) -> dict[str, Any]:
    """One row for each fault that is no video's, for the UI; nothing when there is none."""
    rows = [
        dg.TableRecord(
            {
                "cause": one.cause.title,
                "videos": one.videos,
                "stages": ", ".join(one.stages),
                "since": clock(one.since),
                "next try": "being asked for" if one.gone else clock(one.next),
                "do": one.cause.fix,
                "why": one.cause.detail,
            }
        )
        for one in waiting
    ]
    return {"waiting": dg.MetadataValue.table(rows)} if rows else {}


def described(rows: list[dict[str, str | int]]) -> dict[str, Any]:
    """The table and its counts, for the UI."""
    numbers = {"attempts": "int"}
    columns = [dg.TableColumn(name, numbers.get(name, "string"), meaning) for name, meaning in COLUMNS.items()]
    shown = [dg.TableRecord(row) for row in rows[:SHOWN]]
    return {
        "table": dg.MetadataValue.table(shown, dg.TableSchema(columns)),
        "videos": len({row["video"] for row in rows}),
        **{state: sum(row["state"] == state for row in rows) for state in STOPPED},
        "not_shown": len(rows) - len(shown),
    }


def forget_settled(bench: Workbench) -> None:
    """Take out of the ledger what waits no more: made in another way, or gone with its video."""
    known, settled = stages(), list[Item]()
    for one in bench.waits.waiting():
        for item in bench.waits.items(one.cause.key):
            stage = known.get(item.stage)
            try:
                if stage is None or bench.state(stage, item.video).condition not in WANTS_WORK:
                    settled.append(item)
            except EgoworldError:
                if bench.store.recorded("videos", item.video) is None:
                    settled.append(item)
    bench.waits.forget(settled)
