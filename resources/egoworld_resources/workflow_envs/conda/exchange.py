"""Locks exchanged with other programs: an env made from one, with every step that any env takes, and one written."""

from __future__ import annotations

from dataclasses import replace

from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.conda.backend import CondaBackend
from egoworld_resources.workflow_envs.conda.conda_lock import write_conda_lock
from egoworld_resources.workflow_envs.conda.declaration import NO_PYTHON, Declaration
from egoworld_resources.workflow_envs.conda.packages import Locked
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.errors import InvalidPackages
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey


def create_from_lock(fabric: Fabric, key: EnvKey, actor: Actor, locked: Locked, *, wait_s: float = 0) -> EnvFacts:
    """A new env that holds exactly what is ``locked``. Raises what Fabric.create raises."""
    backend = _conda(fabric)
    once = replace(fabric, backends={**fabric.backends, backend.name: backend.adopting(locked)})
    return once.create(key, actor, backend=backend.name, wait_s=wait_s)


def create_from_yml(fabric: Fabric, key: EnvKey, actor: Actor, text: str, *, wait_s: float = 0) -> EnvFacts:
    """A new env of what an environment.yml declares, with Python only if it asks for it.

    Raises PolicyRefused for its channels and what Fabric.create raises.
    """
    backend, declaration = _conda(fabric), Declaration.parse(text)
    backend.specs.check(declaration.channels)
    packages = declaration.dependencies
    return fabric.create(key, actor, python_version=NO_PYTHON, packages=packages, backend=backend.name, wait_s=wait_s)


def conda_lock_of(fabric: Fabric, key: EnvKey) -> str:
    """The text of a conda-lock.yml of an env. Raises InvalidPackages for an env that is not of conda packages."""
    backend, env = _conda(fabric), fabric.get(key)
    if env.backend != backend.name:
        raise InvalidPackages(f"env {key} is of the backend {env.backend}; conda-lock.yml holds conda packages")
    return write_conda_lock(env.env_path / env.generation, backend.archives)


def _conda(fabric: Fabric) -> CondaBackend:
    backend = fabric.backends.get(CondaBackend.name)
    if not isinstance(backend, CondaBackend):
        raise InvalidPackages("this fabric has no conda backend, so it knows no lock of conda")
    return backend
