"""What the API returns about the main project and the envs that share packages with it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.project_info import model_envs, project_needs, shared, workflow_envs


class SharedPackage(BaseModel):
    """A package that the main project declares and an env has too.

    project_asks, env_asks: what each declares of it, "" when nothing; project_has, env_has: locked versions, or "";
    conflict: why one version cannot serve both as they are, "" when it can.
    """

    name: str
    project_asks: str
    project_has: str
    env_asks: str
    env_has: str
    conflict: str


class EnvNeeds(BaseModel):
    """What an env has of the main project. kind: model or workflow; error: why it is not known, "" when it is."""

    env: str
    kind: str
    python: str
    packages: list[SharedPackage]
    conflicts: int
    error: str


class ProjectInfo(BaseModel):
    """The main project: what it declares and has locked, and what each env shares of it."""

    name: str
    python: str
    dependencies: dict[str, str]
    locked_versions: dict[str, str]
    envs: list[EnvNeeds]
    error: str

    @classmethod
    def of_project(cls, project: Path, fabric: Fabric | None) -> ProjectInfo:
        main = project_needs(project)
        envs: list[EnvNeeds] = []
        for env in (*model_envs(project), *workflow_envs(fabric.list() if fabric else ())):
            packages = [SharedPackage(**vars(one)) for one in shared(main, env)]
            conflicts = sum(1 for one in packages if one.conflict)
            known = {"env": env.name, "kind": env.kind, "python": env.python, "error": env.error}
            envs.append(EnvNeeds(**known, packages=packages, conflicts=conflicts))
        known = {"name": main.name, "python": main.python, "error": main.error}
        own = {name: main.has.get(name, "") for name in main.asks}
        return cls(**known, dependencies=dict(main.asks), locked_versions=own, envs=envs)
