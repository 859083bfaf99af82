"""Why an env is apart from our own interpreter: a pin that contradicts one of ours, or a reason in envs/policy.toml."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.checkout import from_kit
from egoworld_resources.environments.contract import root_dependencies
from egoworld_resources.environments.declaration import OWN
from egoworld_resources.environments.policy.rules import Breach, Policy


def split_breaches(catalog: Catalog, policy: Policy) -> Iterator[Breach]:
    """Envs of the project that are apart without a conflict and without a reason, and reasons of envs that are gone.

    A conflict is seen where both name a package directly, and the version that our interpreter pins is not one that the
    env takes; `egoworld env conflicts` asks the resolver about indirect ones. Without the table nothing is checked.
    """
    if policy.split is None:
        return
    envs = catalog.envs_folders[0]
    own = [name for name in catalog.names if catalog.env(name).folder.parent == envs]
    apart = [name for name in own if catalog.env(name).interpreter == OWN]
    pinned = _pins(root_dependencies(envs.parent / "pyproject.toml"))
    for name in apart:
        conflict = any(
            requirement.specifier and not requirement.specifier.contains(version, prereleases=True)
            for requirement in map(Requirement, catalog.env(name).dependencies)
            if (version := pinned.get(canonicalize_name(requirement.name)))
        )
        if not conflict and not policy.split.get(name, "").strip():
            fix = "make it one with our own interpreter, or write under [split] of envs/policy.toml why it is apart"
            yield Breach("split", f"no pin keeps {name} out of our own interpreter, and no reason is written down", fix)
    if from_kit(envs.parent):  # a kit brings the rules of all envs, and some of the envs
        return
    for name in sorted(set(policy.split) - set(apart)):
        yield Breach("split", f"{name} has a reason to be apart and is not an env that is", "remove it from [split]")


def _pins(requirements: list[str]) -> dict[str, str]:
    """Version by package of what is pinned to one."""
    found: dict[str, str] = {}
    for requirement in map(Requirement, requirements):
        for specifier in requirement.specifier:
            if specifier.operator == "==" and not specifier.version.endswith(".*"):
                found[canonicalize_name(requirement.name)] = specifier.version
    return found
