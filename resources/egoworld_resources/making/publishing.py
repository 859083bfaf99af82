"""Put what a runner wrote into the store, with its manifest; or record that nothing came out of a video."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egoworld_resources.artifacts.manifest import (
    ClipReport,
    Manifest,
    Recipe,
    data_version,
    stored_files,
)
from egoworld_resources.artifacts.stage import Draft, Stage, verdict_of
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.faults.causes import CLIPS_FAILED
from egoworld_resources.making.assemble import assemble
from egoworld_resources.making.gates import Gates
from egoworld_resources.making.job import VideoWork
from egoworld_resources.making.kept_jobs import keep_failed_job
from egoworld_resources.making.state import SOURCE, Outcome, State
from egoworld_resources.rights.bearing import carried
from egoworld_resources.rights.source_videos import rights_of
from egoworld_resources.running.process import Ran
from egoworld_runner.job import Job

if TYPE_CHECKING:
    from egoworld_resources.making.workbench import Workbench


@dataclass
class Making:
    """One run of a model over a batch: what every artifact of it has in common."""

    stage: Stage
    recipe: Recipe
    run_id: str
    scratch: Path
    python: Path | None = None
    gpu: str | None = None
    seconds: float = 0.0
    job: Job | None = None
    ran: Ran = field(default_factory=Ran)


def publish(bench: Workbench, making: Making, work: VideoWork, state: State[Manifest]) -> Outcome:
    """Put what the runner wrote of a video into the store; one of which nothing came out is recorded as a failure."""
    taken = making.scratch / "taken" / work.video
    gates = Gates(making.stage, {asset: folder for asset, folder in work.folders.items() if folder})
    reports = assemble(work.output, work.units, taken, making.ran.deaths_in(work.video), gates.leave_out)
    if all(report.state == "failed" for report in reports):
        why = "; ".join(sorted({report.reason for report in reports})) or "there is no clip"
        return _failed(bench, making, work.video, state, why)
    manifest = _manifest(bench, making, work, state, taken, reports, gates)
    bench.store.put(taken, manifest)
    key, quarantine = f"{making.stage.name}/{work.video}", None
    if manifest.quarantine:
        again = _kept(bench, making, "quarantine", work.video)
        attempts = tried(bench.store.recorded("quarantine", key), manifest.made_at)
        quarantine = {"reason": manifest.quarantine, "again": again, **attempts}
    bench.store.record("quarantine", key, quarantine)
    bench.store.record("failures", key, None)
    return Outcome(work.video, "made", manifest=manifest)


def _manifest(
    bench: Workbench,
    making: Making,
    work: VideoWork,
    state: State[Manifest],
    taken: Path,
    reports: list[ClipReport],
    gates: Gates,
) -> Manifest:
    """The manifest of what was taken over from the runner; its checks are run here."""
    stage, recipe = making.stage, making.recipe
    draft = Draft(stage.name, taken, reports, gates.inputs)
    files = stored_files(taken)
    facts = bench.store.recorded("videos", work.video) or {}
    inputs = (bench.store.current(asset, work.video) for asset in gates.inputs)
    licences, code_licences = carried(bench.catalog.model(stage.name, recipe.env), (made for made in inputs if made))
    rights = rights_of(bench.store, bench.settings.rights, work.video, str(state.inputs[SOURCE]))
    return Manifest(
        asset=stage.name,
        video=work.video,
        data_version=data_version(files),
        fingerprint=fingerprint(recipe, state.inputs),
        files=files,
        inputs=state.inputs,
        recipe=recipe,
        clips=reports,
        checks=[*(verdict_of(check, draft) for check in stage.checks), *gates.verdicts],
        licences=licences,
        code_licences=code_licences,
        source={**{name: facts.get(name) for name in ("name", "sha256", "bytes")}, "rights": rights.licence},
        run_id=making.run_id,
        host=socket.gethostname(),
        gpu=making.gpu,
        seconds=round(sum(r.seconds for r in reports) or making.seconds, 3),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        isolation=list(making.ran.isolation),
    )


def _failed(bench: Workbench, making: Making, video: str, state: State[Manifest], why: str) -> Outcome:
    """Record that the runner refused a whole video, and keep what reproduces it."""
    key = f"{making.stage.name}/{video}"
    facts = {
        "reason": why,
        "kind": CLIPS_FAILED,
        "fingerprint": fingerprint(making.recipe, state.inputs),
        "again": _kept(bench, making, "failures", video),
        **tried(bench.store.recorded("failures", key), datetime.now(UTC).isoformat(timespec="seconds")),
    }
    bench.store.record("failures", key, facts)
    return Outcome(video, "failed", why)


def _kept(bench: Workbench, making: Making, kind: str, video: str) -> str:
    """Keep what reproduces a video that failed or is quarantined; returns the command."""
    kept = bench.layout.logs / kind / making.stage.name / video
    return keep_failed_job(making.scratch, making.job, kept, video, making.python)


def tried(before: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    """How often something was tried in a row without success, since when, and when last; by the record before."""
    before = before or {}
    since = before.get("since") or before.get("at") or now
    return {"attempts": before.get("attempts", 0) + 1, "since": since, "at": now}
