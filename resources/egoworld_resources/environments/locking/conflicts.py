"""Which model envs could be one and which cannot, in the resolver's own words: only a conflict splits."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.errors import EnvBuildFailed, IndexUnreachable
from egoworld_resources.environments.locking.lockfile import lowest_python
from egoworld_resources.environments.locking.resolve import Wanted, prepare, wanted_of, wanted_of_base
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.errors import EgoworldError

NO_ANSWER = ("network was disabled", "not found in the cache", "Network connectivity is disabled")
"""What uv prints when it could not see every version: then even "no solution" proves nothing."""


@dataclass(frozen=True)
class Verdict:
    """Whether some envs could be one; None if the resolver cannot tell. words: its message, empty if they could."""

    envs: tuple[str, ...]
    words: str = ""
    could: bool | None = True

    def summary(self) -> str:
        """The verdict in a few words."""
        return {True: "could be one", False: "cannot be one", None: "not known"}[self.could]


@dataclass(frozen=True)
class Conflicts:
    """All pairs, and the groups that a greedy pass over the envs gives. offline: only uv's cache was used."""

    pairs: list[Verdict]
    groups: list[tuple[str, ...]]
    offline: bool

    def unneeded(self) -> list[str]:
        """Envs that run beside our own interpreter although no conflict with it is known to be in the way."""
        return [pair.envs[1] for pair in self.pairs if pair.envs[0] == BASE and pair.could]


def conflicts(catalog: Catalog, uv: Uv, policy: Policy, names: Iterable[str]) -> Conflicts:
    """Resolve the declared dependencies of every pair of envs together, then gather groups.

    names: envs of ``catalog``; those that share an interpreter count as the one that has it, ours as BASE. Where the
    index does not answer, what uv's cache knows decides, and what it cannot decide is not known.
    """
    asking = _Asking(catalog, uv, policy)
    wanted = sorted({catalog.env(name).runs_in for name in names})
    ordered = [*(name for name in wanted if name == BASE), *(name for name in wanted if name != BASE)]
    groups: list[tuple[str, ...]] = []
    for name in ordered:
        place = next((place for place, group in enumerate(groups) if asking.joins(group, name)), None)
        if place is None:
            groups.append((name,))
        else:
            groups[place] = (*groups[place], name)
    together = {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}
    pairs = [
        Verdict(pair) if frozenset(pair) in together else asking.ask(pair)
        for pair in itertools.combinations(ordered, 2)
    ]
    return Conflicts(pairs, groups, asking.offline)


@dataclass
class _Asking:
    catalog: Catalog
    uv: Uv
    policy: Policy
    offline: bool = False
    known: dict[tuple[str, ...], Verdict] = field(default_factory=dict[tuple[str, ...], Verdict])

    def joins(self, group: tuple[str, ...], name: str) -> bool:
        """Whether ``name`` could be one with the whole group; then it could with each env of it too."""
        return bool(self.ask((*group, name)).could)

    def ask(self, envs: tuple[str, ...]) -> Verdict:
        if envs not in self.known:
            self.known[envs] = self._ask(envs)
        return self.known[envs]

    def _ask(self, envs: tuple[str, ...]) -> Verdict:
        together = self._together(envs)
        try:
            lowest_python(together.python)
        except ValueError as error:
            return Verdict(envs, f"no Python fits all of them: {error}", could=False)
        try:
            self._resolve(together)
        except IndexUnreachable as error:
            return Verdict(envs, _words(error), could=None)
        except EnvBuildFailed as error:
            words = _words(error)
            no_answer = "No solution found" not in words or any(sign in words for sign in NO_ANSWER)
            return Verdict(envs, words, could=None if no_answer else False)
        return Verdict(envs)

    def _resolve(self, together: Wanted) -> None:
        """What the cache can resolve needs no index; an index that once failed to answer is not tried again."""
        with tempfile.TemporaryDirectory(prefix="egoworld-conflicts-") as folder:
            command = [*prepare(together, Path(folder), self.policy), "--quiet", "--no-annotate"]
            try:
                self.uv.run([*command, "--offline"], Path(folder), what="resolving")
            except (EnvBuildFailed, IndexUnreachable) as by_cache:
                if self.offline:
                    raise
                try:
                    self.uv.run(command, Path(folder), what="resolving")
                except IndexUnreachable:
                    self.offline = True
                    raise by_cache from None

    def _together(self, envs: Sequence[str]) -> Wanted:
        """What a single env that replaces them all would be made from."""
        root = self.catalog.envs_folders[0].parent / "pyproject.toml"
        each = {name: wanted_of_base(root) if name == BASE else wanted_of(name, self.catalog) for name in envs}
        return Wanted(
            name="_".join(envs),
            dependencies=[text for wanted in each.values() for text in wanted.dependencies],
            python=",".join(dict.fromkeys(wanted.python for wanted in each.values())),
            source="",
            sdists=sorted({name for wanted in each.values() for name in wanted.sdists}),
            overrides=self._overrides(each),
        )

    def _overrides(self, each: dict[str, Wanted]) -> list[str]:
        """An override lets an env do without a package; it applies if none of the other envs has that package."""
        kept: list[str] = []
        for name, wanted in each.items():
            for text in wanted.overrides:
                package = canonicalize_name(Requirement(text).name)
                others = (other for other in each if other != name and text not in each[other].overrides)
                if not any(package in self._packages(other, each[other]) for other in others):
                    kept.append(text)
        return sorted(set(kept))

    def _packages(self, name: str, wanted: Wanted) -> set[str]:
        declared: set[str] = {canonicalize_name(Requirement(text).name) for text in wanted.dependencies}
        names = [env for env in self.catalog.names if name == self.catalog.env(env).runs_in]
        try:
            return declared.union(*(self.catalog.packages(env) for env in names))
        except EgoworldError:
            return declared  # no current lock: only what is declared is known


def _words(error: EgoworldError) -> str:
    return str(error).partition("uv says:\n")[2] or str(error)
