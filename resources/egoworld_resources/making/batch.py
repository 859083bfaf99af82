"""Make an artifact for many videos with one load of its model: decide what is stale, run, publish."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.artifacts.stage import Draft, Stage
from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.errors import DamagedArtifact, UnknownName
from egoworld_resources.leases.named import making_lock
from egoworld_resources.leases.scratch import scratch_folder
from egoworld_resources.making.job import VideoWork, build_job
from egoworld_resources.making.judging import candidates, one_clip, run_and_judge
from egoworld_resources.making.publishing import Making, publish
from egoworld_resources.making.state import SOURCE, Outcome, State
from egoworld_resources.making.waiting import Run, wait, work_at
from egoworld_resources.running.process import Event, Ran, run_job
from egoworld_resources.store.protocol import Store
from egoworld_resources.weights import ModelPaths
from egoworld_runner.job import Job

if TYPE_CHECKING:
    from egoworld_resources.making.workbench import Workbench


def make(bench: Workbench, run: Run, stage: Stage, videos: Sequence[str], force: bool = False) -> list[Outcome]:
    """Make an asset for many videos with one load of the model; fresh ones are left as they are.

    One outcome per video, in the order given. A video that fails does not stop the others. Waits while another
    process of this machine makes the same; what that one made is fresh then.
    """
    bench.waits.prepare()
    try:
        with making_lock(bench.layout.home / "leases", (f"{stage.name}/{video}" for video in videos)):
            return _make(bench, run, stage, videos, force)
    except Exception as error:  # noqa: BLE001 whatever it is, no video is the cause
        return list(wait(bench, run, stage, videos, error).values())


def _make(bench: Workbench, run: Run, stage: Stage, videos: Sequence[str], force: bool) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    todo: dict[str, State[Manifest]] = {}
    for video in videos:
        try:
            state = bench.state(stage, video)
        except Exception as error:  # noqa: BLE001 as above
            gone = isinstance(error, UnknownName) and error.kind == "video"
            failed = {video: Outcome(video, "failed", str(error))}
            outcomes |= failed if gone else wait(bench, run, stage, [video], error)
            continue
        if state.condition == "blocked":
            outcomes[video] = Outcome(video, "blocked", state.why)
        elif state.condition in ("fresh", "quarantined") and not force:
            outcomes[video] = Outcome(video, "fresh", manifest=state.manifest)
        else:
            todo[video] = state
    bench.waits.settle(stage.name, [video for video, found in outcomes.items() if found.cause is None])
    held = bench.waits.holding(work_at(bench, stage), run.tried) if todo else None
    if held:
        outcomes |= wait(bench, run, stage, list(todo), held)
    elif todo:
        try:
            with naming_a_full_disk(bench.layout.home), bench.store.reading():
                outcomes |= _make_all(bench, run, stage, todo)
        except Exception as error:  # noqa: BLE001 as above
            outcomes |= wait(bench, run, stage, list(todo), error)
    return [outcomes[video] for video in videos]


def _make_all(bench: Workbench, run: Run, stage: Stage, todo: dict[str, State[Manifest]]) -> dict[str, Outcome]:
    recipe = bench.recipe(stage)
    with scratch_folder(bench.layout.scratch, f"{stage.name}-{run.id[:8]}") as scratch:
        making = Making(stage, recipe, run.id, scratch)
        works, outcomes = _works(bench, run, stage, todo, scratch)
        if not works:
            return outcomes
        began = time.monotonic()
        try:
            _run_model(bench, run, making, works)
        except Exception as error:  # noqa: BLE001 whatever it is, no video is the cause
            return outcomes | wait(bench, run, stage, list(works), error)
        making.seconds = (time.monotonic() - began) / len(works)
        return outcomes | {video: _finished(bench, run, making, work, todo[video]) for video, work in works.items()}


def _run_model(bench: Workbench, run: Run, making: Making, works: dict[str, VideoWork]) -> None:
    """Run the model over all works; what it took, and what became of it, goes into ``making``."""
    recipe, stage = making.recipe, making.stage
    with bench.process(recipe, making.scratch) as process:
        making.python, making.gpu = process.python, process.gpu
        model = bench.catalog.model(stage.name, recipe.env)
        paths = ModelPaths.of(bench.settings)
        job_for = partial(build_job, recipe, model, python=process.python, bucket=bench.weights, paths=paths)
        making.job = job_for(list(works.values()))

        def run_model(job: Job) -> Ran:
            return run_job(job, process, lambda event: _tell(bench, run, recipe, event))

        def control() -> Job | None:
            found = _control(bench, stage, works, making.scratch)
            return job_for([found]) if found else None

        making.ran = run_and_judge(making.job, run_model, control)


def _control(bench: Workbench, stage: Stage, works: Container[str], scratch: Path) -> VideoWork | None:
    """A clip of another video that got through this stage as it is made now; None when there is none."""
    for made in candidates(bench.store, stage.name, works):
        state = bench.state(stage, made.video)
        if state.condition == "fresh":
            work = one_clip(_work(bench.store, stage, made.video, state, scratch), made)
            if work:
                return replace(work, output=scratch / "control" / made.video)
    return None


def _works(
    bench: Workbench, run: Run, stage: Stage, todo: dict[str, State[Manifest]], scratch: Path
) -> tuple[dict[str, VideoWork], dict[str, Outcome]]:
    """What a stage is given for each video; and what becomes of those whose inputs are damaged."""
    works: dict[str, VideoWork] = {}
    failed: dict[str, Outcome] = {}
    for video, state in todo.items():
        try:
            works[video] = _work(bench.store, stage, video, state, scratch)
        except (DamagedArtifact, FileNotFoundError) as error:
            failed |= wait(bench, run, stage, [video], error)
    return works, failed


def _work(store: Store, stage: Stage, video: str, state: State[Manifest], scratch: Path) -> VideoWork:
    """What a stage is given: the very versions that ``state`` named, whatever became live since."""
    versions = {asset: version for asset, version in state.inputs.items() if asset != SOURCE}
    found = {asset: store.version(asset, video, v) if v else None for asset, v in versions.items()}
    facts = store.recorded("videos", video) or {}
    return VideoWork(
        video=video,
        path=store.source(str(state.inputs[SOURCE]), facts["suffix"]),
        name=facts["name"],
        folders={asset: store.folder(made) if made else None for asset, made in found.items()},
        clips=None if stage.unit == "video" else clips_of(store, found["clips"]),
        output=scratch / "videos" / video,
    )


def clips_of(store: Store, made: Manifest | None) -> list[tuple[str, int, int]]:
    """Clip id, start and end frame of every clip in an artifact of clips, in time order; none without one."""
    if made is None:
        return []
    rows = Draft("clips", store.folder(made), (), {}).table().to_pylist()
    return [(row["clip_id"], row["start_frame"], row["end_frame"]) for row in rows]


def _finished(bench: Workbench, run: Run, making: Making, work: VideoWork, state: State[Manifest]) -> Outcome:
    try:
        with naming_a_full_disk(making.scratch):
            outcome = publish(bench, making, work, state)
    except Exception as error:  # noqa: BLE001 whatever it is, the video is not the cause
        return wait(bench, run, making.stage, [work.video], error)[work.video]
    bench.waits.settle(making.stage.name, [work.video], got_through=True)
    return outcome


def _tell(bench: Workbench, run: Run, recipe: Recipe, event: Event) -> None:
    if event["event"] == "loaded":
        facts = {"seconds": event["seconds"], "device": recipe.device}
        bench.store.record("loads", f"{recipe.stage}/{recipe.env}", facts)
    if run.listener:
        run.listener(recipe.stage, event)
