"""Make artifacts: decide what is stale, run the model for many videos at once, check, publish."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egoworld_resources import gpu
from egoworld_resources.artifacts.manifest import Manifest, Recipe, data_version, stored_files
from egoworld_resources.artifacts.stage import Draft, Stage, verdict_of
from egoworld_resources.artifacts.staleness import fingerprint, reasons
from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.checkout import catalog_of, checkout_wheels
from egoworld_resources.errors import DamagedArtifact, EgoworldError, Transient, UnknownName
from egoworld_resources.faults.causes import CLIPS_FAILED, Cause, cause_of, is_the_videos
from egoworld_resources.faults.causes import Work as Task
from egoworld_resources.faults.waits import EVERYTHING, Waits, ledger_of
from egoworld_resources.inbox.folder import Inbox
from egoworld_resources.leases.claims import claimed
from egoworld_resources.leases.scratch import scratch_folder
from egoworld_resources.making.assemble import assemble
from egoworld_resources.making.job import Work, job_of
from egoworld_resources.making.judging import candidates, one_clip, run_and_judge
from egoworld_resources.making.kept_jobs import keep
from egoworld_resources.making.recipes import recipe_of
from egoworld_resources.making.states import SOURCE, Condition, Making, Outcome, State, tried
from egoworld_resources.opening import open_inbox, open_store, open_weights
from egoworld_resources.rights.bearing import LicenceBook, carried
from egoworld_resources.rights.source_videos import rights_of
from egoworld_resources.running.process import Event, Process, Ran, run_job
from egoworld_resources.settings import Settings
from egoworld_resources.store.protocol import Store
from egoworld_resources.store.snapshot import Snapshot
from egoworld_resources.weights import ModelPaths
from egoworld_runner.job import Job

if TYPE_CHECKING:
    from egoworld_resources.weights.bucket import WeightsBucket

__all__ = ["SOURCE", "Condition", "Outcome", "State", "Workbench"]
Listener = Callable[[str, Event], None]
log = logging.getLogger(__name__)


class Workbench:
    """One installation: its settings, store, catalog and envs, and the one way to make an artifact."""

    def __init__(self, settings: Settings, listener: Listener | None = None, store: Store | None = None) -> None:
        self.settings = settings
        self.layout = settings.layout
        self.store: Store = store or open_store(settings)
        self.listener = listener
        self.chosen: Container[str] | None = None
        """The videos that may be made, of all that a partition of Dagster holds; None: every one."""
        self.listed: tuple[str, Sequence[str]] | None = None
        """Keys of all videos as a run, by its id, found them."""
        self.tried = EVERYTHING
        """What is known of it holds nothing up: the key of a cause that is being tried; a run without one has none."""
        self.unrecorded: set[str] = set()
        """Videos that wait although the ledger could not be written."""
        self.retried: Container[tuple[str, str]] = ()
        """(stage, video) of failures that a person asks for again."""
        self._recipes: dict[str, Recipe] = {}

    @cached_property
    def waits(self) -> Waits:
        return ledger_of(self.settings)

    @cached_property
    def inbox(self) -> Inbox:
        return open_inbox(self.settings)

    @cached_property
    def weights(self) -> WeightsBucket | None:
        return open_weights(self.settings)

    @cached_property
    def catalog(self) -> Catalog:
        folders = (self.settings.project / "envs", *self.settings.extra_envs)
        return catalog_of(folders, self.settings.env_profile, apart=True)

    @cached_property
    def licences(self) -> LicenceBook:
        return LicenceBook(self.catalog, self.settings.licences)

    @cached_property
    def builder(self) -> EnvBuilder:
        settings = self.settings
        wheels = checkout_wheels(settings.project, settings.wheelhouse)
        return EnvBuilder(self.layout.envs, self.catalog, settings.uv, settings.uv_cache_folder, wheels=wheels)

    @cached_property
    def _contract(self) -> str:
        return self.catalog.contract_digest()

    def snapshot(self, ahead: bool = True) -> Workbench:
        """The same installation for one look at everything: what was read a moment ago is not read again.

        ahead: whether it is a look at most of the store.
        """
        return Workbench(self.settings, store=Snapshot(self.store, ahead))

    def env_of(self, stage: Stage) -> str:
        """The env that serves a stage now."""
        return self.settings.stages.get(stage.name, stage.env)

    def recipe(self, stage: Stage) -> Recipe:
        """How a stage would be made now; raises UnknownName for an env or parameter that does not exist."""
        if stage.name not in self._recipes:
            env = self.env_of(stage)
            given = self.settings.params.get(stage.name, {})
            self._recipes[stage.name] = self.recipe_with(stage.name, env, given)
        return self._recipes[stage.name]

    def recipe_with(self, stage: str, env: str, given: Mapping[str, Any]) -> Recipe:
        """How an env would serve a stage now, with some parameters over its model's own; raises UnknownName."""
        return recipe_of(self.catalog, self._contract, stage, env, given)

    def state(self, stage: Stage, video: str) -> State:
        """How an asset of a video stands against the current code, lock, weights, parameters and inputs."""
        inputs, missing = self._inputs(stage, video)
        made = self.store.current(stage.name, video)
        failure = self.store.recorded("failures", f"{stage.name}/{video}")
        if missing:
            return State("blocked", missing, made, inputs)
        recipe = self.recipe(stage)
        print_now = fingerprint(recipe, inputs)
        if failure and failure["fingerprint"] == print_now and is_the_videos(failure):
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

        One outcome per video, in the order given. A video that fails does not stop the others. Waits while another
        process of this machine makes the same; what that one made is fresh then.
        """
        self.waits.prepare()
        try:
            with claimed(self.layout.home / "leases", (f"{stage.name}/{video}" for video in videos)):
                return self._make(stage, videos, run_id, force)
        except Exception as error:  # noqa: BLE001 whatever it is, no video is the cause
            return list(self.wait(stage, videos, error).values())

    def _make(self, stage: Stage, videos: Sequence[str], run_id: str, force: bool) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        todo: list[tuple[str, State]] = []
        for video in videos:
            try:
                state = self.state(stage, video)
            except Exception as error:  # noqa: BLE001 as above
                gone = isinstance(error, UnknownName) and error.kind == "video"
                outcomes |= {video: Outcome(video, "failed", str(error))} if gone else self.wait(stage, [video], error)
                continue
            if state.condition == "blocked":
                outcomes[video] = Outcome(video, "blocked", state.why)
            elif state.condition in ("fresh", "quarantined") and not force:
                outcomes[video] = Outcome(video, "fresh", manifest=state.manifest)
            else:
                todo.append((video, state))
        self.waits.settle(stage.name, [video for video, found in outcomes.items() if found.cause is None])
        held = self.waits.holding(self.work_at(stage), self.tried) if todo else None
        if held:
            outcomes |= self.wait(stage, [video for video, _ in todo], held)
        elif todo:
            try:
                with naming_a_full_disk(self.layout.home), self.store.reading():
                    outcomes |= self._make_all(stage, todo, run_id)
            except Exception as error:  # noqa: BLE001 as above
                outcomes |= self.wait(stage, [video for video, _ in todo], error)
        return [outcomes[video] for video in videos]

    def work_at(self, stage: Stage) -> Task:
        """What making an asset needs, as far as it can be known."""
        env = self.env_of(stage)
        try:
            return Task(stage.name, env, self.recipe(stage).device == "cuda")
        except Exception:  # noqa: BLE001 whoever makes it will see what is wrong
            return Task(stage.name, env)

    def wait(self, stage: Stage, videos: Sequence[str], why: Exception | Cause) -> dict[str, Outcome]:
        """These wait until a fault that is not theirs is gone: it was met, or is known and not tried now."""
        work = self.work_at(stage)
        cause = why if isinstance(why, Cause) else cause_of(why, work)
        note = self.waits.join if isinstance(why, Cause) else self.waits.hit
        if not note(cause, work, videos):
            self.unrecorded.update(videos)
        if isinstance(why, Exception) and not isinstance(why, EgoworldError):
            log.error("%s: %s", stage.name, cause.title, exc_info=why)
        transient, said = isinstance(why, Transient), f"{cause.title}: {cause.detail}"
        return {video: Outcome(video, "failed", said, transient=transient, cause=cause) for video in videos}

    def _make_all(self, stage: Stage, todo: Sequence[tuple[str, State]], run_id: str) -> dict[str, Outcome]:
        recipe = self.recipe(stage)
        with scratch_folder(self.layout.scratch, f"{stage.name}-{run_id[:8]}") as scratch:
            making = Making(stage, recipe, run_id, scratch)
            works, outcomes = self._works(stage, todo, scratch)
            todo = [(video, state) for video, state in todo if video in works]
            if not todo:
                return outcomes
            began = time.monotonic()
            try:
                with self.process(recipe, scratch) as process:
                    making.python, making.gpu = process.python, process.gpu
                    model = self.catalog.model(stage.name, recipe.env)
                    paths = ModelPaths.of(self.settings)
                    job_for = partial(job_of, recipe, model, python=process.python, bucket=self.weights, paths=paths)
                    making.job = job_for(list(works.values()))

                    def run(job: Job) -> Ran:
                        return run_job(job, process, lambda event: self._tell(recipe, event))

                    def control() -> Job | None:
                        found = self._control(stage, works, scratch)
                        return job_for([found]) if found else None

                    making.ran = run_and_judge(making.job, run, control)
            except Exception as error:  # noqa: BLE001 whatever it is, no video is the cause
                return outcomes | self.wait(stage, list(works), error)
            making.seconds = (time.monotonic() - began) / len(works)
            return outcomes | {video: self._finished(making, works[video], state) for video, state in todo}

    def _control(self, stage: Stage, works: Container[str], scratch: Path) -> Work | None:
        """A clip of another video that got through this stage as it is made now; None when there is none."""
        for made in candidates(self.store, stage.name, works):
            state = self.state(stage, made.video)
            if state.condition == "fresh":
                work = one_clip(self._work(stage, made.video, state, scratch), made)
                if work:
                    return replace(work, output=scratch / "control" / made.video)
        return None

    def _works(
        self, stage: Stage, todo: Sequence[tuple[str, State]], scratch: Path
    ) -> tuple[dict[str, Work], dict[str, Outcome]]:
        """What a stage is given for each video; and what becomes of those whose inputs are damaged."""
        works: dict[str, Work] = {}
        failed: dict[str, Outcome] = {}
        for video, state in todo:
            try:
                works[video] = self._work(stage, video, state, scratch)
            except (DamagedArtifact, FileNotFoundError) as error:
                failed |= self.wait(stage, [video], error)
        return works, failed

    @contextmanager
    def process(self, recipe: Recipe, scratch: Path) -> Iterator[Process]:
        """What the runner of a recipe is started with: its env, built from the lock, and a GPU leased if it needs one.

        Raises what building an env raises, LockBusy, NoGpu.
        """
        with ExitStack() as stack:
            lease = stack.enter_context(gpu.leased(self.layout.home / "leases")) if recipe.device == "cuda" else None
            yield Process(
                python=self.builder.ensure(recipe.env).python,
                scratch=scratch,
                gpu=lease.device.cuda if lease else None,
                descriptors=lease.descriptors if lease else (),
                silence_s=self.settings.silence_s,
                memory=int(self.settings.memory_gb * 1e9) if self.settings.memory_gb else None,
                network=bool(self.catalog.model(recipe.stage, recipe.env).endpoint),
                hidden=(self.settings.project, self.layout.home),
            )

    def _work(self, stage: Stage, video: str, state: State, scratch: Path) -> Work:
        """What a stage is given: the very versions that ``state`` named, whatever became live since."""
        versions = {asset: state.inputs[asset] for asset in (*stage.inputs, *stage.optional)}
        found = {asset: self.store.version(asset, video, v) if v else None for asset, v in versions.items()}
        facts = self.store.recorded("videos", video) or {}
        return Work(
            video=video,
            path=self.store.source(str(state.inputs[SOURCE]), facts["suffix"]),
            name=facts["name"],
            folders={asset: self.store.folder(made) if made else None for asset, made in found.items()},
            clips=None if stage.unit == "video" else self.clips(found["clips"]),
            output=scratch / "videos" / video,
        )

    def clips(self, made: Manifest | None) -> list[tuple[str, int, int]]:
        """Clip id, start and end frame of every clip in an artifact of clips, in time order; none without one."""
        if made is None:
            return []
        rows = Draft("clips", self.store.folder(made), (), {}).table().to_pylist()
        return [(row["clip_id"], row["start_frame"], row["end_frame"]) for row in rows]

    def _finished(self, making: Making, work: Work, state: State) -> Outcome:
        try:
            with naming_a_full_disk(making.scratch):
                outcome = self._publish(making, work, state)
        except Exception as error:  # noqa: BLE001 whatever it is, the video is not the cause
            return self.wait(making.stage, [work.video], error)[work.video]
        self.waits.settle(making.stage.name, [work.video], got_through=True)
        return outcome

    def _publish(self, making: Making, work: Work, state: State) -> Outcome:
        """Put what the runner wrote into the store; a video of which nothing came out is a failure."""
        stage, recipe = making.stage, making.recipe
        taken = making.scratch / "taken" / work.video
        reports = assemble(work.output, work.units, taken, making.ran.deaths_in(work.video))
        if all(report.state == "failed" for report in reports):
            why = "; ".join(sorted({report.reason for report in reports})) or "there is no clip"
            return self._failed(making, work.video, state, why)
        given = {asset: folder for asset, folder in work.folders.items() if folder}
        draft = Draft(stage.name, taken, reports, given)
        files = stored_files(taken)
        facts = self.store.recorded("videos", work.video) or {}
        model = self.catalog.model(recipe.stage, recipe.env)
        inputs = (self.store.current(asset, work.video) for asset in given)
        licences, code_licences = carried(model, (made for made in inputs if made))
        rights = rights_of(self.store, self.settings.rights, work.video, str(state.inputs[SOURCE]))
        manifest = Manifest(
            asset=stage.name,
            video=work.video,
            data_version=data_version(files),
            fingerprint=fingerprint(recipe, state.inputs),
            files=files,
            inputs=state.inputs,
            recipe=recipe,
            clips=reports,
            checks=[verdict_of(check, draft) for check in stage.checks],
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
        self.store.put(taken, manifest)
        key, quarantine = f"{stage.name}/{work.video}", None
        if manifest.quarantine:
            again = keep(making.scratch, making.job, self.layout.logs / "quarantine" / key, work.video, making.python)
            attempts = tried(self.store.recorded("quarantine", key), manifest.made_at)
            quarantine = {"reason": manifest.quarantine, "again": again, **attempts}
        self.store.record("quarantine", key, quarantine)
        self.store.record("failures", key, None)
        return Outcome(work.video, "made", manifest=manifest)

    def _failed(self, making: Making, video: str, state: State, why: str) -> Outcome:
        """Record that the runner refused a whole video, and keep what reproduces it."""
        key = f"{making.stage.name}/{video}"
        again = keep(making.scratch, making.job, self.layout.logs / "failures" / key, video, making.python)
        facts = {
            "reason": why,
            "kind": CLIPS_FAILED,
            "fingerprint": fingerprint(making.recipe, state.inputs),
            "again": again,
            **tried(self.store.recorded("failures", key), datetime.now(UTC).isoformat(timespec="seconds")),
        }
        self.store.record("failures", key, facts)
        return Outcome(video, "failed", why)

    def again(self, stage: Stage, video: str) -> str:
        """The command that runs a failed or quarantined stage of a video by hand; empty when there is none."""
        key = f"{stage.name}/{video}"
        record = self.store.recorded("failures", key) or self.store.recorded("quarantine", key) or {}
        return str(record.get("again", ""))

    def _tell(self, recipe: Recipe, event: Event) -> None:
        if event["event"] == "loaded":
            facts = {"seconds": event["seconds"], "device": recipe.device}
            self.store.record("loads", f"{recipe.stage}/{recipe.env}", facts)
        if self.listener:
            self.listener(recipe.stage, event)
