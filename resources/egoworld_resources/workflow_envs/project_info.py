"""Which env needs what of the main project: packages, versions, and where the two cannot agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.checkout import catalog_of
from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.locking.lockfile import Lock, lowest_python
from egoworld_resources.environments.locking.resolve import wanted_of, wanted_of_base
from egoworld_resources.errors import EgoworldError
from egoworld_resources.workflow_envs.env_facts import EnvFacts


@dataclass(frozen=True)
class Needs:
    """What one env, or the project itself, declares and has locked, by name. error: why that is not known."""

    name: str
    kind: str
    python: str
    asks: Mapping[str, str]
    has: Mapping[str, str]
    error: str = ""


@dataclass(frozen=True)
class Shared:
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


def project_needs(project: Path) -> Needs:
    """The main project: its pyproject.toml, and the lock of our own interpreter."""
    root = project / "pyproject.toml"
    if not root.is_file():
        return Needs("", "project", "", {}, {}, f"there is no {root}; set EGOWORLD_PROJECT to the checkout")
    try:
        base = wanted_of_base(root)
        name = str(read_toml(root)["project"]["name"])
        has = Lock.read(BASE, project / "locks" / f"pylock.{BASE}.toml").packages(lowest_python(base.python))
    except (EgoworldError, KeyError, TypeError, ValueError) as error:
        return Needs("", "project", "", {}, {}, f"{root} and its lock cannot be read: {error}")
    return Needs(name, "project", base.python, _asks(base.dependencies), has)


def model_envs(project: Path, profile: str = "") -> Iterator[Needs]:
    """The model envs of the project; one whose lock is missing or stale is marked."""
    if not (project / "envs").is_dir():
        return
    catalog = catalog_of([project / "envs"], profile, apart=True)
    for name in catalog.names:
        yield _model_env(catalog, name)


def workflow_envs(envs: Iterable[EnvFacts]) -> Iterator[Needs]:
    """Envs of workflows."""
    for env in envs:
        declared = env.declared
        error = "" if env.status == "ready" else f"it is {env.status}"
        asks = _asks(declared.dependencies) if env.backend == "uv" else {}
        yield Needs(str(env.key), "workflow", declared.python_version, asks, declared.locked_versions, error)


def shared(project: Needs, env: Needs) -> list[Shared]:
    """What the main project declares of what an env declares or has."""
    names = sorted(name for name in project.asks if name in env.asks or name in env.has)
    return [_shared(name, project, env) for name in names]


def _model_env(catalog: Catalog, name: str) -> Needs:
    env = catalog.env(name)
    whose = {BASE: "model, in the project's own interpreter", name: "model"}
    kind = whose.get(env.runs_in, f"model, in the interpreter of {env.runs_in}")
    try:
        asks = _asks(wanted_of(catalog.host(name).name, catalog).dependencies)
        return Needs(name, kind, env.python, asks, catalog.packages(name))
    except EgoworldError as error:
        return Needs(name, kind, env.python, {}, {}, str(error))


def _shared(name: str, project: Needs, env: Needs) -> Shared:
    asks, has = (project.asks[name], env.asks.get(name, "")), (project.has.get(name, ""), env.has.get(name, ""))
    against = [
        f"{who} asks {wanted or 'any version'}, {other} has {version}"
        for who, wanted, other, version in (
            ("the project", asks[0], "the env", has[1]),
            ("the env", asks[1], "the project", has[0]),
        )
        if version and not _fits(name, wanted, version)
    ]
    return Shared(name, asks[0], has[0], asks[1], has[1], "; ".join(against))


def _fits(name: str, wanted: str, version: str) -> bool:
    """Whether a version meets the requirement; a commit, which is not a version, counts as fitting."""
    try:
        return Requirement(f"{name}{wanted}").specifier.contains(version.partition("/")[0], prereleases=True)
    except (InvalidRequirement, ValueError):
        return True


def _asks(dependencies: Iterable[str]) -> dict[str, str]:
    """The requirement on each package, as a specifier; "" for any version."""
    found: dict[str, list[str]] = {}
    for text in dependencies:
        one = Requirement(text)
        found.setdefault(canonicalize_name(one.name), []).append(str(one.specifier))
    return {name: ",".join(part for part in parts if part) for name, parts in found.items()}
