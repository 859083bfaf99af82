"""Make artifacts: decide what is stale, run the model for many videos at once, check, publish."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from egoworld_resources import gpu
from egoworld_resources.assemble import assemble
from egoworld_resources.catalog import Catalog
from egoworld_resources.environments.builder import BuiltEnv, EnvBuilder
from egoworld_resources.errors import EgoworldError, Terminal, Transient, UnknownName
from egoworld_resources.evidence import keep
from egoworld_resources.layout import Layout
from egoworld_resources.manifest import Manifest, Recipe, data_version, fingerprint, named_files, reasons, stored_files
from egoworld_resources.runner import Event, Process, run_job
from egoworld_resources.scratch import scratch_folder
from egoworld_resources.settings import Settings
from egoworld_resources.snapshot import Snapshot
from egoworld_resources.stage import Draft, Stage
from egoworld_resources.store import FolderStore
from egoworld_resources.weights import local_weights
from egoworld_runner.job import Job, Span, VideoJob

Condition = Literal["fresh", "stale", "missing", "failed", "quarantined", "blocked"]
Listener = Callable[[str, Event], None]
SOURCE = "source"
VIDEOS = "videos"


@dataclass(frozen=True)
class State:
    """How one asset of one video stands, and why. inputs: data versions that it would be made from now."""

    condition: Condition
    why: str
    manifest: Manifest | None
    inputs: Mapping[str, str | None]


@dataclass(frozen=True)
class Outcome:
    """What making one asset of one video came to. ``transient``: trying again may help."""

    video: str
    state: Literal["made", "fresh", "failed", "blocked"]
    why: str = ""
    manifest: Manifest | None = None
    transient: bool = False


@dataclass(frozen=True)
class _Work:
    video: str
    inputs: Mapping[str, str | None]
    folders: Mapping[str, Path]
    output: Path


class Workbench:
    """One installation: its settings, store, catalog and envs, and the one way to make an artifact."""

    def __init__(self, settings: Settings, listener: Listener | None = None, store: FolderStore | None = None) -> None:
        self.settings = settings
        self.layout = Layout(settings.home)
        self.store = store or FolderStore(self.layout.store)
        self.listener = listener
        self._recipes: dict[str, Recipe] = {}

    @cached_property
    def catalog(self) -> Catalog:
        project = self.settings.project
        folders = (project / "envs", *self.settings.extra_envs)
        return Catalog.load(folders, tuple(folder.parent / "locks" for folder in folders))

    @cached_property
    def builder(self) -> EnvBuilder:
        return EnvBuilder(self.layout.envs, self.catalog, self.settings.uv, self.settings.uv_cache_folder)

    @cached_property
    def _contract(self) -> str:
        return self.catalog.contract_digest()

    def snapshot(self) -> Workbench:
        """The same installation for one look at everything: what was read a moment ago is not read again."""
        return Workbench(self.settings, store=Snapshot(self.layout.store))

    def env_of(self, stage: Stage) -> str:
        """The env that serves a stage now."""
        return self.settings.stages.get(stage.name, stage.env)

    def recipe(self, stage: Stage) -> Recipe:
        """How a stage would be made now; raises UnknownName for an env or parameter that does not exist."""
        if stage.name not in self._recipes:
            env = self.env_of(stage)
            model = self.catalog.model(stage.name, env)
            given = self.settings.params.get(stage.name, {})
            for name in given:
                if name not in model.params:
                    raise UnknownName(f"parameter of {stage.name} ({env})", name, model.params)
            params = {**model.params, **given}
            self._recipes[stage.name] = Recipe(
                stage=stage.name,
                env=env,
                model=model.runner,
                label=model.label,
                runner=self.catalog.runner_digest(stage.name, env),
                contract=self._contract,
                lock=self.catalog.lock_digest(env),
                packages=self.catalog.packages(env),
                weights={w.name: w.sha256 for w in model.weights},
                params=params,
                files=named_files(params),
                device=model.device,
                licence=model.licence,
            )
        return self._recipes[stage.name]

    def state(self, stage: Stage, video: str) -> State:
        """How an asset of a video stands against the current code, lock, weights, parameters and inputs."""
        inputs, missing = self._inputs(stage, video)
        made = self.store.current(stage.name, video)
        failure = self.store.recorded("failures", f"{stage.name}/{video}")
        if missing:
            return State("blocked", missing, made, inputs)
        recipe = self.recipe(stage)
        print_now = fingerprint(recipe, inputs)
        if failure and failure["fingerprint"] == print_now:
            return State("failed", failure["reason"], made, inputs)
        if made is None:
            return State("missing", "never made", None, inputs)
        if made.fingerprint != print_now:
            why = "; ".join(reasons(made, recipe, inputs)) or "made by another recipe"
            return State("stale", why, made, inputs)
        if made.quarantine:
            return State("quarantined", made.quarantine, made, inputs)
        return State("fresh", "", made, inputs)

    def _inputs(self, stage: Stage, video: str) -> tuple[dict[str, str | None], str]:
        """Data versions of the inputs now, and why the stage cannot be made (empty when it can)."""
        source = self.store.recorded("videos", video)
        if source is None:
            raise UnknownName("video", video, (key for key, _ in self.store.records("videos")))
        inputs: dict[str, str | None] = {SOURCE: source["sha256"]}
        missing = ""
        for asset in (*stage.inputs, *stage.optional):
            found = self.store.current(asset, video)
            needed = asset in stage.inputs
            inputs[asset] = None
            if found is None:
                missing = missing or (f"{asset} has not been made" if needed else "")
            elif found.quarantine and not (stage.shows_quarantined and not needed):
                missing = missing or (f"{asset} is quarantined: {found.quarantine}" if needed else "")
            else:
                inputs[asset] = found.data_version
        return inputs, missing

    def make(self, stage: Stage, videos: Sequence[str], run_id: str, force: bool = False) -> list[Outcome]:
        """Make an asset for many videos with one load of the model; fresh ones are left as they are.

        One outcome per video, in the order given. A video that fails does not stop the others.
        """
        outcomes: dict[str, Outcome] = {}
        todo: list[tuple[str, State]] = []
        for video in videos:
            try:
                state = self.state(stage, video)
            except EgoworldError as error:
                outcomes[video] = Outcome(video, "failed", str(error))
                continue
            if state.condition == "blocked":
                outcomes[video] = Outcome(video, "blocked", state.why)
            elif state.condition in ("fresh", "quarantined") and not force:
                outcomes[video] = Outcome(video, "fresh", manifest=state.manifest)
            else:
                todo.append((video, state))
        if todo:
            outcomes.update(self._make_all(stage, todo, run_id))
        return [outcomes[video] for video in videos]

    def _make_all(self, stage: Stage, todo: Sequence[tuple[str, State]], run_id: str) -> dict[str, Outcome]:
        recipe = self.recipe(stage)
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder(self.layout.scratch, f"{stage.name}-{run_id[:8]}"))
            works = [self._work(stage, video, state, scratch) for video, state in todo]
            began = time.monotonic()
            python = None
            try:
                lease = None
                if recipe.device == "cuda":
                    lease = stack.enter_context(gpu.lease(self.layout.home / "leases", gpu.gpus()))
                env = self.builder.ensure(recipe.env)
                python = env.python
                process = Process(
                    python=env.python,
                    scratch=scratch,
                    gpu=lease.gpu if lease else None,
                    descriptors=(lease.descriptor,) if lease else (),
                    silence_s=self.settings.silence_s,
                    memory=int(self.settings.memory_gb * 1e9) if self.settings.memory_gb else None,
                )
                run_job(self._job(stage, works, env), process, lambda event: self._tell(stage.name, event))
            except (Transient, Terminal) as error:
                transient = isinstance(error, Transient)
                return {w.video: self._failed(stage, w, str(error), python, transient) for w in works}
            seconds = (time.monotonic() - began) / len(works)
            held = lease.gpu if lease else None
            return {w.video: self._publish(stage, w, run_id, seconds, held, python) for w in works}

    def _work(self, stage: Stage, video: str, state: State, scratch: Path) -> _Work:
        folders: dict[str, Path] = {}
        for asset in (*stage.inputs, *stage.optional):
            found = self.store.current(asset, video)
            if found and state.inputs[asset] == found.data_version:
                folders[asset] = self.store.folder(found)
        return _Work(video, state.inputs, folders, scratch / "videos" / video)

    def _job(self, stage: Stage, works: Sequence[_Work], env: BuiltEnv) -> Job:
        recipe = self.recipe(stage)
        model = self.catalog.model(stage.name, recipe.env)
        return Job(
            stage=stage.name,
            folder=str(model.folder),
            entry=model.runner,
            device=recipe.device,
            params=recipe.params,
            weights={name: str(path) for name, path in local_weights(model.weights, env.python).items()},
            videos=tuple(self._video_job(stage, work) for work in works),
        )

    def _video_job(self, stage: Stage, work: _Work) -> VideoJob:
        facts = self.store.recorded("videos", work.video) or {}
        probed = work.folders.get(VIDEOS)
        spans = None if stage.unit == "video" else tuple(Span(s, e) for _, s, e in self.clips(work.video))
        return VideoJob(
            video=work.video,
            path=str(self.store.source(facts["sha256"], facts["suffix"])),
            frames=str(probed / "frames.parquet") if probed else None,
            inputs={a: str(work.folders[a]) if a in work.folders else None for a in (*stage.inputs, *stage.optional)},
            output=str(work.output),
            clips=spans,
            name=facts["name"],
        )

    def clips(self, video: str) -> list[tuple[str, int, int]]:
        """Clip id, start and end frame of every clip of a video, in time order."""
        made = self.store.current("clips", video)
        if made is None:
            return []
        rows = Draft("clips", self.store.folder(made), (), {}).table().to_pylist()
        return [(row["clip_id"], row["start_frame"], row["end_frame"]) for row in rows]

    def _publish(
        self, stage: Stage, work: _Work, run_id: str, seconds: float, gpu_index: int | None, python: Path | None
    ) -> Outcome:
        order = [clip for clip, _, _ in self.clips(work.video)] if stage.unit == "clip" else ["whole"]
        reports = assemble(work.output, order)
        if all(report.state == "failed" for report in reports):
            why = "; ".join(sorted({report.reason for report in reports})) or "there is no clip"
            return self._failed(stage, work, why, python)
        recipe = self.recipe(stage)
        draft = Draft(stage.name, work.output, reports, work.folders)
        files = stored_files(work.output)
        facts = self.store.recorded("videos", work.video) or {}
        manifest = Manifest(
            asset=stage.name,
            video=work.video,
            data_version=data_version(files),
            fingerprint=fingerprint(recipe, work.inputs),
            files=files,
            inputs=work.inputs,
            recipe=recipe,
            clips=reports,
            checks=[check(draft) for check in stage.checks],
            licences=self._licences(stage, work, recipe.env),
            source={name: facts.get(name) for name in ("name", "sha256", "bytes")},
            run_id=run_id,
            host=socket.gethostname(),
            gpu=None if gpu_index is None else str(gpu_index),
            seconds=round(sum(r.seconds for r in reports) or seconds, 3),
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        scratch = work.output.parent.parent
        self.store.put(work.output, manifest)
        if manifest.quarantine:
            again = keep(scratch, self.layout.logs / "quarantine" / stage.name / work.video, work.video, python)
            self.store.record(
                "quarantine", f"{stage.name}/{work.video}", {"reason": manifest.quarantine, "again": again}
            )
        else:
            self.store.record("quarantine", f"{stage.name}/{work.video}", None)
        self.store.record("failures", f"{stage.name}/{work.video}", None)
        return Outcome(work.video, "made", manifest=manifest)

    def _licences(self, stage: Stage, work: _Work, env: str) -> list[str]:
        model = self.catalog.model(stage.name, env)
        found = {model.licence, *(weight.licence for weight in model.weights)}
        for asset in work.folders:
            made = self.store.current(asset, work.video)
            found.update(made.licences if made else ())
        return sorted(found)

    def _failed(self, stage: Stage, work: _Work, why: str, python: Path | None, transient: bool = False) -> Outcome:
        """Record a failure and keep what reproduces it; a transient one is not held against the video."""
        key = f"{stage.name}/{work.video}"
        again = keep(work.output.parent.parent, self.layout.logs / "failures" / key, work.video, python)
        if not transient:
            attempts = (self.store.recorded("failures", key) or {}).get("attempts", 0) + 1
            facts = {"reason": why, "fingerprint": fingerprint(self.recipe(stage), work.inputs), "attempts": attempts}
            at = datetime.now(UTC).isoformat(timespec="seconds")
            self.store.record("failures", key, {**facts, "again": again, "at": at})
        return Outcome(work.video, "failed", why, transient=transient)

    def again(self, stage: Stage, video: str) -> str:
        """The command that runs a failed or quarantined stage of a video by hand; empty when there is none."""
        key = f"{stage.name}/{video}"
        record = self.store.recorded("failures", key) or self.store.recorded("quarantine", key) or {}
        return str(record.get("again", ""))

    def _tell(self, stage: str, event: Event) -> None:
        if event["event"] == "loaded":
            recipe = self._recipes[stage]
            facts = {"seconds": event["seconds"], "device": recipe.device}
            self.store.record("loads", f"{stage}/{recipe.env}", facts)
        if self.listener:
            self.listener(stage, event)
