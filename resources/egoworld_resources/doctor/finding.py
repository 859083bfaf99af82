"""What a check is given, what it may say, and how it is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from egoworld_resources.environments.catalog import Catalog, ModelEnv, StageModel
from egoworld_resources.environments.checkout import catalog_of
from egoworld_resources.errors import EgoworldError
from egoworld_resources.layout import Layout
from egoworld_resources.settings import Settings

State = Literal["ok", "not needed", "warning", "fault"]
"""not needed: nothing in force depends on it, so it was not judged; it does not read as passed."""

STATES: Final[tuple[State, ...]] = ("ok", "not needed", "warning", "fault")
"""From good to grave."""


@dataclass(frozen=True)
class Finding:
    """What a check saw of one thing. fix: what a person types or does; a warning or a fault always has one."""

    about: str
    state: State
    found: str
    fix: str = ""

    def __post_init__(self) -> None:
        if (self.state in ("warning", "fault")) != bool(self.fix):
            raise ValueError(f"{self.about}: a warning or a fault has a fix, nothing else does; this is {self}")


def ok(about: str, found: str) -> Finding:
    return Finding(about, "ok", found)


def not_needed(about: str, found: str) -> Finding:
    return Finding(about, "not needed", found)


def warning(about: str, found: str, fix: str) -> Finding:
    return Finding(about, "warning", found, fix)


def fault(about: str, found: str, fix: str) -> Finding:
    return Finding(about, "fault", found, fix)


def worst(findings: Iterable[Finding]) -> State:
    """The gravest state of some findings; "ok" of none."""
    gravest: State = "ok"
    for finding in findings:
        if STATES.index(finding.state) > STATES.index(gravest):
            gravest = finding.state
    return gravest


@dataclass(frozen=True)
class Subject:
    """What is examined. stages: the env in force by stage.

    seconds: how long a check may take. free_gb: free disk (GB) below which there is a warning, and below a tenth of
    which there is a fault. thorough: read every byte of every env.
    """

    settings: Settings
    stages: Mapping[str, str]
    seconds: float = 60.0
    free_gb: float = 10.0
    thorough: bool = False

    @property
    def layout(self) -> Layout:
        return self.settings.layout

    @property
    def patience_s(self) -> float:
        """Seconds that a program which a check asks gets: less than the check itself, so that the check can tell."""
        return 0.7 * self.seconds

    @cached_property
    def catalog(self) -> Catalog:
        """The model envs that can be chosen; raises BadConfiguration naming the file that is wrong."""
        folders = (self.settings.project / "envs", *self.settings.extra_envs)
        return catalog_of(folders, self.settings.env_profile)

    def models(self) -> dict[str, StageModel]:
        """The model in force by stage; a stage whose env does not serve it is left to the check of stages."""
        found: dict[str, StageModel] = {}
        for stage, env in self.stages.items():
            try:
                found[stage] = self.catalog.model(stage, env)
            except EgoworldError:
                continue
        return found

    def envs(self) -> list[ModelEnv]:
        """The envs in force, in name order."""
        return [self.catalog.env(name) for name in sorted({model.env for model in self.models().values()})]


Check = Callable[[Subject], Iterator[Finding]]
CHECKS: dict[str, Check] = {}


def check(title: str) -> Callable[[Check], Check]:
    """Register a check under a title of its own."""

    def register(function: Check) -> Check:
        if title in CHECKS:
            raise ValueError(f"two checks are called '{title}'")
        CHECKS[title] = function
        return function

    return register
