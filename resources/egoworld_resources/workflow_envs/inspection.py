"""Looking at envs: their state, byte by byte, and under which licences."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.environments.errors import some_of
from egoworld_resources.workflow_envs import env_facts
from egoworld_resources.workflow_envs.backends import Backend
from egoworld_resources.workflow_envs.base import FabricBase
from egoworld_resources.workflow_envs.env_facts import EnvFacts, PackageLicence
from egoworld_resources.workflow_envs.errors import Damaged, EnvNotFound, FabricError
from egoworld_resources.workflow_envs.keys import EnvKey


class Looks(FabricBase):
    """Looking at the envs; nothing is changed or written down."""

    def get(self, key: EnvKey) -> EnvFacts:
        """One env. Raises EnvNotFound."""
        return self._seen(key, lambda at, ready, backend: env_facts.read(key, at, ready, backend, backend.stamp(at)))

    def list(self) -> list[EnvFacts]:
        """All envs by key, damaged ones too; one that is removed meanwhile is left out."""
        found: list[EnvFacts] = []
        for key in self.places.taken():
            with suppress(EnvNotFound, OSError):
                found.append(self._listed(key))
        return found

    def verify(self, key: EnvKey) -> EnvFacts:
        """Every byte of an env against what was installed. Raises Damaged naming files."""

        def look(generation: Path, ready: Ready, backend: Backend) -> EnvFacts:
            if wrong := backend.damaged(generation):
                raise Damaged(f"env {key}: {some_of(wrong)} changed after the installation; sync it", files=wrong[:100])
            if (stamp := backend.stamp(generation)) != ready.stamp:
                raise Damaged(f"env {key}: files were touched after the installation, packages are whole; sync it")
            return env_facts.read(key, generation, ready, backend, stamp)

        return self._seen(key, look)

    def licences(self, key: EnvKey) -> list[PackageLicence]:
        """The licence of each package, and whether the policy allows it: reported here, not refused."""
        return self._seen(key, lambda at, _ready, backend: env_facts.judged(backend.licences(at), self.licence_rules))

    def _listed(self, key: EnvKey) -> EnvFacts:
        try:
            return self.get(key)
        except EnvNotFound:
            raise
        except FabricError:
            return env_facts.unreadable(key, self.places.folder(key))
