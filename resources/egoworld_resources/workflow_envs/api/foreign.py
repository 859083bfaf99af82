"""Files of conda's world as the faces take them: what kind a text is, and an env made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.conda.backend import CondaBackend
from egoworld_resources.workflow_envs.conda.conda_lock import read_conda_lock, read_explicit_lock
from egoworld_resources.workflow_envs.conda.exchange import create_from_lock, create_from_yml
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.errors import InvalidPackages
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey

EXPLICIT = re.compile(r"^@EXPLICIT\s*$", re.MULTILINE)
CONDA_LOCK = re.compile(r"^package:", re.MULTILINE)


def create(
    fabric: Fabric,
    key: EnvKey,
    actor: Actor,
    *,
    python_version: str,
    packages: Sequence[str],
    backend: str,
    conda_file: str,
    wait_s: float,
) -> EnvFacts:
    """A new env of packages, or of a conda_file: the text of a conda-lock.yml, an explicit lock or an environment.yml.

    Raises what Fabric.create raises, InvalidPackages for a conda_file beside packages or another backend.
    """
    if not conda_file:
        return fabric.create(
            key, actor, python_version=python_version, packages=packages, backend=backend, wait_s=wait_s
        )
    if packages or python_version or backend != CondaBackend.name:
        raise InvalidPackages(
            "a conda_file lists everything that an env is made of: with it the backend is "
            f"{CondaBackend.name!r}, and neither packages nor Python are named"
        )
    if EXPLICIT.search(conda_file):
        return create_from_lock(fabric, key, actor, read_explicit_lock(conda_file), wait_s=wait_s)
    if CONDA_LOCK.search(conda_file):
        return create_from_lock(fabric, key, actor, read_conda_lock(conda_file), wait_s=wait_s)
    try:
        return create_from_yml(fabric, key, actor, conda_file, wait_s=wait_s)
    except InvalidPackages as error:
        raise InvalidPackages(
            f"conda_file is neither an explicit lock nor a conda-lock.yml; as another file: {error}"
        ) from error
