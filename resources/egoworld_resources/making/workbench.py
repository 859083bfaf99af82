"""One installation: its settings, store, catalog and envs, and the one way to make an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.checkout import catalog_of, checkout_wheels
from egoworld_resources.environments.sources import Sources
from egoworld_resources.faults.waits import Waits, ledger_of
from egoworld_resources.inbox.folder import Inbox
from egoworld_resources.making.recipes import recipe_of
from egoworld_resources.making.state import SOURCE, Condition, Outcome, State, state_of
from egoworld_resources.making.waiting import Run
from egoworld_resources.opening import open_inbox, open_store, open_weights
from egoworld_resources.rights.bearing import LicenceBook
from egoworld_resources.settings import Settings
from egoworld_resources.store.protocol import Store
from egoworld_resources.store.snapshot import Snapshot

if TYPE_CHECKING:
    from egoworld_resources.environments.building.builder import EnvBuilder
    from egoworld_resources.running.process import Process
    from egoworld_resources.weights.bucket import WeightsBucket

__all__ = ["SOURCE", "Condition", "Outcome", "Run", "State", "Workbench"]


class Workbench:
    """What there is to work with. Nothing of a single run is kept here: see Run.

    Whoever only looks at what was made loads neither Arrow nor what starts processes.
    """

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        self.settings = settings
        self.layout = settings.layout
        self.store: Store = store or open_store(settings)
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
        return catalog_of(folders, self.settings.env_profile, apart=True, sources=Sources(self.layout.sources))

    @cached_property
    def licences(self) -> LicenceBook:
        return LicenceBook(self.catalog, self.settings.licences)

    @cached_property
    def builder(self) -> EnvBuilder:
        from egoworld_resources.environments.building.builder import EnvBuilder
        from egoworld_resources.workflow_envs.sdists import SdistWheels

        settings = self.settings
        return EnvBuilder(
            self.layout.envs,
            self.catalog,
            settings.uv,
            settings.uv_cache_folder,
            wheels=checkout_wheels(settings.project, settings.wheelhouse),
            sdists=SdistWheels,
        )

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
            found = self.recipe_with(stage.name, env, given)
            on_cpu = stage.name in self.settings.on_cpu
            self._recipes[stage.name] = found.model_copy(update={"device": "cpu"}) if on_cpu else found
        return self._recipes[stage.name]

    def recipe_with(self, stage: str, env: str, given: Mapping[str, Any]) -> Recipe:
        """How an env would serve a stage now, with some parameters over its model's own; raises UnknownName."""
        return recipe_of(self.catalog, self._contract, stage, env, given)

    def state(self, stage: Stage, video: str) -> State[Manifest]:
        """How an asset of a video stands against the current code, lock, weights, parameters and inputs."""
        return state_of(self.store, self.recipe, stage, video)

    def make(self, stage: Stage, videos: Sequence[str], run: Run | str, force: bool = False) -> list[Outcome]:
        """Make an asset for many videos with one load of the model, see ``batch.make``. run: or its id alone."""
        from egoworld_resources.making import batch

        return batch.make(self, run if isinstance(run, Run) else Run(run), stage, videos, force)

    @contextmanager
    def process(self, recipe: Recipe, scratch: Path) -> Iterator[Process]:
        """What the runner of a recipe is started with: its env, built from the lock, and a GPU leased if it needs one.

        Raises what building an env raises, LockBusy, NoGpu.
        """
        from egoworld_resources import gpu
        from egoworld_resources.running.process import Process

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

    def clips(self, made: Manifest | None) -> list[tuple[str, int, int]]:
        """Clip id, start and end frame of every clip in an artifact of clips, in time order; none without one."""
        from egoworld_resources.making.batch import clips_of

        return clips_of(self.store, made)

    def rerun_command(self, stage: Stage, video: str) -> str:
        """The command that runs a failed or quarantined stage of a video by hand; empty when there is none."""
        key = f"{stage.name}/{video}"
        record = self.store.recorded("failures", key) or self.store.recorded("quarantine", key) or {}
        return str(record.get("again", ""))
