"""What every operation on an env does: look at its live generation, be alone with it, write down what is done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from egoworld_resources.environments.building.generations import READY, Ready
from egoworld_resources.environments.policy.licences import LicenceRules
from egoworld_resources.programs.output import words_into
from egoworld_resources.programs.redaction import redacted
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Began, Operations
from egoworld_resources.workflow_envs.backends import Backend
from egoworld_resources.workflow_envs.config import FabricConfig
from egoworld_resources.workflow_envs.errors import Damaged, EnvNotFound, FabricError
from egoworld_resources.workflow_envs.folders import Places
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.reconcile import reconcile
from egoworld_resources.workflow_envs.space import naming_faults_of_disks

T = TypeVar("T")
FAULT = "INTERNAL_ERROR"


@dataclass
class Step:
    """An operation on its way: what its end row will say."""

    began: Began
    lock_after: str = ""
    message: str = ""
    result: str = "ok"


@dataclass(frozen=True)
class FabricBase:
    """The envs below one folder, with what makes them and the audit of it."""

    config: FabricConfig
    backends: Mapping[str, Backend]
    operations: Operations
    licence_rules: LicenceRules = field(default_factory=LicenceRules)
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", Places(self.config.envs_base_path))

    @contextmanager
    def _changing(self, key: EnvKey, wait_s: float) -> Generator[int]:
        """Alone with an env whose history agrees with what is on disk."""
        with self._disks_named(), self.places.changing(key, wait_s) as held:
            reconcile(key, self.places, self.operations)
            yield held

    def _disks_named(self) -> AbstractContextManager[None]:
        return naming_faults_of_disks(self.config.envs_base_path)

    @contextmanager
    def _written_down(
        self, action: str, key: EnvKey, actor: Actor, details: Mapping[str, Any], before: str = ""
    ) -> Generator[Step]:
        """A start row before what happens inside, an end row after it, whatever its end is."""
        step = Step(self.operations.begin(action, key.folder, key.parts, actor, details, before))
        try:
            with self._disks_named(), words_into(self.places.log(step.began.id)):
                yield step
        except BaseException as error:  # an interrupted operation is an end, too, and has a row
            step.result = error.code if isinstance(error, FabricError) else FAULT
            step.message = redacted(str(error))[:4000]
            step.lock_after = step.lock_after or before
            raise
        finally:
            self.operations.end(step.began, step.result, message=step.message, lock_after=step.lock_after)

    def _live(self, key: EnvKey) -> tuple[Path, Ready, Backend]:
        """The live generation, which is whole. Raises EnvNotFound, Damaged."""
        while True:
            generation, ready, backend = self._left(key)
            if ready and backend:
                return generation, ready, backend
            if generation == self.places.generations(key).current():  # not replaced or removed under our eyes
                raise Damaged(f"env {key}: {generation.name} lacks {READY} or its declaration; sync it, or delete it")

    def _left(self, key: EnvKey) -> tuple[Path, Ready | None, Backend | None]:
        """What is left of an env, complete or not: the live generation, its record, and the backend of its files."""
        generation = self.places.generations(key).current()
        if generation is None:
            raise EnvNotFound(key)
        known = [one for one in self.backends.values() if (generation / one.files[0]).is_file()]
        return generation, Ready.read(generation), known[0] if known else None

    def _seen(self, key: EnvKey, look: Callable[[Path, Ready, Backend], T]) -> T:
        """What ``look`` finds in the live generation; looks again if the env was removed meanwhile."""
        while True:
            with self._disks_named():
                generation, ready, backend = self._live(key)
                try:
                    found = look(generation, ready, backend)
                except (OSError, Damaged):
                    if (generation / READY).is_file():
                        raise
                else:
                    if (generation / READY).is_file():
                        return found
