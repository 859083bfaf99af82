"""Envs of workflows as a Dagster resource: the same library as the API and the command line.

    @dg.op
    def measure(envs: EnvFabricResource) -> str:
        key = EnvKey("report", "measure")
        if not envs.has(key):
            envs.create(key, packages=["numpy>=2"])
        return envs.run(key, "import numpy; print(numpy.__version__)").stdout

    @dg.job(resource_defs={"envs": EnvFabricResource()})
    def report():
        measure()

Every change stands in the audit as done by "dagster", from "run <id>": `egoworld env log`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from pydantic import Field, PrivateAttr

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.settings import Settings
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Operation
from egoworld_resources.workflow_envs.code_sandbox import Outcome
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.opening import open_fabric


class EnvFabricResource(dg.ConfigurableResource["EnvFabricResource"]):
    """The fabric of this installation, open while a run lasts. Errors are those of the library, by their codes."""

    wait_s: float = Field(default=600, ge=0, description="Seconds that a change waits for an env, and code for room.")

    _fabric: Fabric | None = PrivateAttr(default=None)
    _actor: Actor = PrivateAttr(default=Actor("dagster", "no run"))

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["EnvFabricResource"]:
        """Open for a run. Raises BadConfiguration, AuditFailed."""
        run = context.run
        self._actor = Actor("dagster", f"run {run.run_id}" if run else "no run")
        self._fabric = open_fabric(Settings.load())
        try:
            yield self
        finally:
            self._fabric.operations.close()
            self._fabric = None

    @property
    def fabric(self) -> Fabric:
        """The library itself. Raises BadConfiguration outside a run."""
        if self._fabric is None:
            raise BadConfiguration("EnvFabricResource is used outside a run of Dagster; it is opened for each run")
        return self._fabric

    def create(
        self, key: EnvKey, *, python_version: str = "", packages: Sequence[str] = (), backend: str = "uv"
    ) -> EnvFacts:
        """A new env. Raises EnvAlreadyExists and what resolving and installing raise."""
        chosen = {"python_version": python_version, "backend": backend}
        return self.fabric.create(key, self._actor, packages=packages, wait_s=self.wait_s, **chosen)

    def has(self, key: EnvKey) -> bool:
        """Whether there is such an env."""
        return key in self.fabric.places.taken()

    def envs(self) -> Sequence[EnvFacts]:
        """All envs, by key."""
        return self.fabric.list()

    def get(self, key: EnvKey) -> EnvFacts:
        """One env with its declaration and lock. Raises EnvNotFound."""
        return self.fabric.get(key)

    def verify(self, key: EnvKey) -> EnvFacts:
        """Every byte against what was installed. Raises Damaged."""
        return self.fabric.verify(key)

    def sync(self, key: EnvKey) -> EnvFacts:
        """Make it again from its lock."""
        return self.fabric.sync(key, self._actor, wait_s=self.wait_s)

    def add(self, key: EnvKey, packages: Sequence[str]) -> EnvFacts:
        """Declare more packages."""
        return self.fabric.add(key, packages, self._actor, wait_s=self.wait_s)

    def remove(self, key: EnvKey, packages: Sequence[str]) -> EnvFacts:
        """Declare less. Raises DependencyNotFound."""
        return self.fabric.remove(key, packages, self._actor, wait_s=self.wait_s)

    def update(
        self, key: EnvKey, *, python_version: str = "", packages: Sequence[str] | None = None, upgrade: bool = False
    ) -> EnvFacts:
        """Another Python, another list of packages (None keeps it), or newer versions."""
        return self.fabric.update(
            key, self._actor, python_version=python_version, packages=packages, upgrade=upgrade, wait_s=self.wait_s
        )

    def run(self, key: EnvKey, code: str, *, timeout_s: float | None = None) -> Outcome:
        """Run code in an env, once there is room. Raises RunTimeout; what the code does itself is in exit_code."""
        return self.fabric.run(key, code, self._actor, timeout_s=timeout_s, wait_s=self.wait_s)

    def delete(self, key: EnvKey) -> None:
        """Remove an env. Raises EnvLocked while code runs in it."""
        self.fabric.delete(key, self._actor, wait_s=self.wait_s)

    def cleanup(self, *, idle_hours: float | None = None, dry_run: bool = False) -> Sequence[EnvKey]:
        """Remove envs that nothing was done with for that long."""
        return self.fabric.cleanup(self._actor, idle_hours=idle_hours, dry_run=dry_run)

    def operations(self, key: EnvKey | None = None, limit: int = 100) -> Sequence[Operation]:
        """Who did what, newest first."""
        return self.fabric.operations.history(parts=key.parts if key else None, limit=limit)
