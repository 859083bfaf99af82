"""What Dagster gets to know of a partition: one video in full, or what many videos came to."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from egoworld_resources.annotations.said import value_of
from egoworld_resources.artifacts.manifest import NOT_CONTENTS, Manifest, Recipe, digest
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.faults.causes import Cause
from egoworld_resources.making.workbench import Outcome, Workbench
from egoworld_runner.annotations import KINDS

LOG = logging.getLogger("dagster.egoworld")
"""What sensors say, in the format of the process; Dagster's ``context.log`` of a tick always writes plain text."""

CHECK = "valid"
SHOWN = 5
"""Reasons in a sentence."""
NAMED = 200
"""Reasons in the metadata of one partition; the counts are of all, and the asset quarantine names all."""
SHEETS = 6
"""Contact sheets in the metadata of one partition: those of the videos that were made last."""


def console(bench: Workbench) -> dict[str, Any]:
    """The run configuration by which a run says on its output what the settings ask for: text or JSON.

    Without one Dagster takes a logger that writes text in colours, whatever loggers the definitions name.
    """
    return {"loggers": {"console": {"config": {}}}} if bench.settings.log_format == "json" else {}


@dataclass
class PartitionSummary:
    """What the videos of one partition came to in one step. It stays small however many there are."""

    partition: str
    states: Counter[str] = field(default_factory=Counter[str])
    versions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    blocked: dict[str, str] = field(default_factory=dict[str, str])
    waiting: dict[str, str] = field(default_factory=dict[str, str])
    causes: dict[str, Cause] = field(default_factory=dict[str, Cause])
    quarantined: dict[str, str] = field(default_factory=dict[str, str])
    rows: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    bytes: int = 0
    licences: set[str] = field(default_factory=set[str])
    code_licences: set[str] = field(default_factory=set[str])
    sheets: list[str] = field(default_factory=list[str])
    first: Outcome | None = None
    waits: bool = False
    """Whether one of them may be there when the step is tried again in a moment."""

    def add(self, bench: Workbench, outcome: Outcome) -> None:
        """Count one video."""
        self.waits |= outcome.transient
        state = "waiting" if outcome.cause else outcome.state
        self.states[state] += 1
        made = outcome.manifest
        if outcome.cause:
            self.causes.setdefault(outcome.cause.key, outcome.cause)
        if made is None:
            lost = {"failed": self.failed, "blocked": self.blocked, "waiting": self.waiting}.get(state)
            if lost is not None and len(lost) < NAMED:
                lost[outcome.video] = outcome.why
            return
        self.first = self.first or outcome
        self.versions.append((made.video, made.data_version))
        self.states["quarantined"] += bool(made.quarantine)
        if made.quarantine and len(self.quarantined) < NAMED:
            self.quarantined[made.video] = made.quarantine
        self.rows.update(made.rows)
        self.seconds += made.seconds
        self.bytes += sum(file.bytes for file in made.files)
        self.licences.update(made.licences)
        self.code_licences.update(made.code_licences)
        sheet = sheet_of(bench, made)
        if sheet:
            self.sheets = [*self.sheets, sheet][-SHEETS:]

    @property
    def videos(self) -> int:
        """How many were counted."""
        return sum(count for state, count in self.states.items() if state != "quarantined")

    @property
    def lost(self) -> dict[str, str]:
        """Why there is no artifact, by video: it failed here, or it waits for a stage before, which has said why."""
        return {**self.failed, **self.blocked}

    @property
    def nothing(self) -> bool:
        """Whether it has no artifact although it should."""
        return not self.versions and bool(self.lost or self.causes)

    @property
    def only_blocked(self) -> bool:
        """Whether it is no news: nothing came out, and only because of stages before."""
        return self.nothing and not (self.failed or self.waiting)

    @property
    def usable(self) -> int:
        """Videos that go on to the next stage."""
        return len(self.versions) - self.states["quarantined"]

    @property
    def alone(self) -> Outcome | None:
        """Its only video, when that has an artifact."""
        return self.first if self.videos == 1 else None

    @property
    def data_version(self) -> str:
        """That of its only video, else a digest of all."""
        return self.versions[0][1] if self.alone else digest(sorted(self.versions))[:32]


def materialize_result(
    bench: Workbench, stage: Stage, summary: PartitionSummary, read: Mapping[str, str]
) -> dg.MaterializeResult[Any]:
    """One partition as the result of a step. read: tags that say what it was made from."""
    return dg.MaterializeResult(
        asset_key=stage.name,
        metadata=metadata_of(bench, stage, summary),
        data_version=dg.DataVersion(summary.data_version),
        check_results=[verdict(stage, [summary])],
        tags=read,
    )


def materialization(
    bench: Workbench, stage: Stage, summary: PartitionSummary, read: Mapping[str, str]
) -> dg.AssetMaterialization:
    """The same for one of several partitions in a run."""
    return dg.AssetMaterialization(
        asset_key=stage.name,
        partition=summary.partition,
        metadata=metadata_of(bench, stage, summary),
        tags={
            "dagster/data_version": summary.data_version,
            "dagster/data_version_is_user_provided": "true",
            "dagster/code_version": code_version(bench.recipe(stage)),
            **read,
        },
    )


def verdict(stage: Stage, summaries: Sequence[PartitionSummary]) -> dg.AssetCheckResult:
    """The check of a run: it blocks when nothing of a single partition goes on, else it warns of what does not."""
    bad = {v: why for one in summaries for v, why in {**one.quarantined, **one.failed, **one.waiting}.items()}
    counts = sum((one.states for one in summaries), Counter[str]())
    videos = sum(one.videos for one in summaries)
    blocks = len(summaries) == 1 and not summaries[0].usable
    said = "; ".join(bad.values()) if videos == 1 else ""
    if videos > 1:
        stopped = [f"{counts[state]} {state}" for state in ("failed", "quarantined", "waiting") if counts[state]]
        named = "; ".join(f"{video}: {why}" for video, why in list(bad.items())[:SHOWN])
        said = f"{' and '.join(stopped)} of {videos} videos: {named}" if bad else f"{videos} videos"
    return dg.AssetCheckResult(
        asset_key=stage.name,
        check_name=CHECK,
        passed=not bad,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description=said or None,
        metadata={
            "quarantined": dg.MetadataValue.json({v: w for one in summaries for v, w in one.quarantined.items()}),
            "failed": dg.MetadataValue.json({v: w for one in summaries for v, w in one.failed.items()}),
            "waiting": dg.MetadataValue.json({v: w for one in summaries for v, w in one.waiting.items()}),
        },
    )


def metadata_of(bench: Workbench, stage: Stage, summary: PartitionSummary) -> dict[str, Any]:
    """Metadata of one materialization."""
    return metadata_of_one(bench, summary.alone) if summary.alone else metadata_of_many(bench, stage, summary)


def metadata_of_many(bench: Workbench, stage: Stage, summary: PartitionSummary) -> dict[str, Any]:
    """What many videos came to: numbers to plot, those that stopped, and a few contact sheets."""
    recipe = bench.recipe(stage)
    sheets = "\n\n".join(f"![contact sheet]({sheet})" for sheet in summary.sheets)
    return {
        **({"contact_sheets": dg.MetadataValue.md(sheets)} if sheets else {}),
        "videos": summary.videos,
        "usable": summary.usable,
        **{state: summary.states[state] for state in ("made", "failed", "waiting", "quarantined", "blocked", "left")},
        "stopped": dg.MetadataValue.json({**summary.quarantined, **summary.lost, **summary.waiting}),
        "seconds": round(summary.seconds, 3),
        "bytes": summary.bytes,
        **{f"rows/{table}": rows for table, rows in summary.rows.items()},
        "env": env_of(recipe),
        "lock": recipe.lock[:12],
        "licences": ", ".join(sorted(summary.licences)) or "none",
        "code_licences": ", ".join(sorted(summary.code_licences)),
    }


def metadata_of_one(bench: Workbench, outcome: Outcome) -> dict[str, Any]:
    """One video: numbers to plot, provenance, and the contact sheet where there is one."""
    manifest = outcome.manifest
    assert manifest is not None
    sheet = sheet_of(bench, manifest)
    return {
        **({"contact_sheet": dg.MetadataValue.md(f"![contact sheet]({sheet})")} if sheet else {}),
        "state": outcome.state,
        "seconds": manifest.seconds,
        "bytes": sum(file.bytes for file in manifest.files),
        **{f"rows/{table}": rows for table, rows in manifest.rows.items()},
        **notes(manifest),
        **said_by_people(bench, manifest),
        "env": env_of(manifest.recipe),
        "lock": manifest.recipe.lock[:12],
        "fingerprint": manifest.fingerprint[:12],
        "licences": ", ".join(manifest.licences) or "none",
        "code_licences": ", ".join(manifest.code_licences),
        "folder": dg.MetadataValue.path(bench.store.location(manifest)),
        "clips": dg.MetadataValue.json([report.model_dump(mode="json") for report in manifest.clips]),
    }


def said_by_people(bench: Workbench, manifest: Manifest) -> dict[str, dg.MetadataValue[Any]]:
    """What a person said about the video that this artifact was made by, one entry a kind."""
    versions = ((kind, manifest.inputs.get(kind)) for kind in KINDS)
    found = ((kind, bench.store.version(kind, manifest.video, version)) for kind, version in versions if version)
    return {f"said/{kind}": dg.MetadataValue.json(value_of(bench.store, made)) for kind, made in found if made}


def env_of(recipe: Recipe) -> str:
    """The model env with its label."""
    return recipe.env + (f" ({recipe.label})" if recipe.label else "")


def code_version(recipe: Recipe) -> str:
    """What Dagster compares: lock, runner, contract, weights and parameters in one short digest."""
    return digest(recipe.model_dump(mode="json", exclude=NOT_CONTENTS))[:12]


def sheet_of(bench: Workbench, manifest: Manifest) -> str:
    """Where a browser gets the contact sheet of an artifact while `make ui` runs; empty when it has none."""
    sheet = next((f.path for f in manifest.files if f.path.endswith("contact_sheet.png")), None)
    where = f"{bench.settings.files_url}/{manifest.asset}/{manifest.video}/{manifest.data_version}"
    return f"{where}/{sheet}" if sheet else ""


def notes(manifest: Manifest) -> dict[str, float]:
    """Numeric notes of the runner, as the mean over the clips."""
    values: dict[str, list[float]] = {}
    for clip in manifest.clips:
        for name, value in clip.notes.items():
            if isinstance(value, int | float):
                values.setdefault(f"note/{name}", []).append(float(value))
    return {name: sum(found) / len(found) for name, found in values.items()}
