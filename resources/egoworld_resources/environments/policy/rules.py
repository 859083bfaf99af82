"""What an env may contain: the rules of envs/policy.toml, and what of a lock breaks them.

`make lock` writes no lock that breaks one; `egoworld env check` asks about everything (policy_check.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import BadDeclaration, LockRefused
from egoworld_resources.environments.locking.indexes import index_named, origin_allowed
from egoworld_resources.environments.locking.lockfile import built_from
from egoworld_resources.environments.policy.addresses import checked_source
from egoworld_resources.environments.policy.licences import LicenceRules

COMMIT = re.compile(r"^[0-9a-f]{40}$")


@dataclass(frozen=True)
class Breach:
    """A broken rule: its name, what was found, and how to fix it."""

    rule: str
    found: str
    fix: str


def checked_constraint(text: str) -> str:
    """A name with versions; raises ValueError otherwise."""
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"'{text}' is not a constraint: {error}") from error
    if parsed.extras or parsed.url or not parsed.specifier:
        raise ValueError(f"'{text}' must be a name and versions, such as 'numpy>=1.26'")
    return text


def checked_index(text: str) -> str:
    """A public index by name, an address or a folder; raises ValueError otherwise."""
    if not index_named(text) and "://" not in text and not Path(text).is_absolute():
        raise ValueError(f"'{text}' must be the name of a public index, an address, or the full path of a folder")
    return text


class Builds(BaseModel):
    """The table [builds]: what may be built from source, always inside the sandbox.

    Without an entry nothing is built: packages come as wheels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    git: Literal["sandbox", "refused"] = Field(default="refused", description="requirements that name a git commit")
    sdists: Literal["sandbox", "refused"] = Field(default="refused", description="sdists that a model env lists")
    backends: tuple[str, ...] = Field(
        default=(), description="values of build-backend in pyproject.toml that may build; one without is setuptools"
    )
    seconds: float = Field(default=300, gt=0, le=3600, description="how long a build may take")
    memory_gb: float = Field(default=4, gt=0, description="memory of a build")
    disk_gb: float = Field(default=2, gt=0, description="disk of a build")


class Policy(BaseModel):
    """Rules of envs/policy.toml. Without that file only the defaults hold: no rule on indexes, versions, licences."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    platform: Literal["linux-64"] = Field(default="linux-64", description="the one platform of every lock")
    glibc: str = Field(default="2.36", pattern=r"^2\.\d+$", description="oldest glibc that the envs must run on")
    cuda: tuple[str, ...] = Field(default=("torch",), description="packages whose CPU-only builds are refused")
    indexes: tuple[Annotated[str, AfterValidator(checked_index)], ...] = Field(
        default=(), description="where packages may come from: public indexes by name, others by address or folder"
    )
    channels: tuple[str, ...] = Field(default=(), description="conda channels, in order of priority")
    constraints: tuple[Annotated[str, AfterValidator(checked_constraint)], ...] = Field(
        default=(), description="versions that every lock must meet, in the syntax of pip's constraints"
    )
    reasons: dict[str, str] = Field(
        default_factory=dict, description="why a constraint exists, by package; shown when a package breaks it"
    )
    private_sources: tuple[Annotated[str, AfterValidator(checked_source)], ...] = Field(
        default=(),
        description="addresses of this machine and its network that packages may come from; all others are refused",
    )
    builds: Builds = Field(default_factory=Builds, description="what may be built, and by what")
    split: dict[str, str] | None = Field(
        default=None,
        description="why an env is apart that no pin keeps out of our own interpreter; without the table nobody asks",
    )
    licences: LicenceRules = Field(default_factory=LicenceRules, description="of models, weights and packages")
    pickles: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], str] = Field(
        default_factory=dict, description="weights that load as pickles and are taken, by sha256, each with its reason"
    )
    profile: str = Field(default="", description="the profile in force; never in the file, see Policy.read")

    @classmethod
    def read(cls, file: Path, profile: str = "", site: Path | None = None) -> Policy:
        """The rules of ``file``, or the defaults when there is no such file.

        profile: a table ``[profiles.<name>]`` whose rules replace those of the same name. site: a file whose rules
        replace those of the same name too, where a site has one. Raises BadDeclaration naming file and field, also for
        a profile that the file does not have.
        """
        document = dict(read_toml(file)) if file.is_file() else {}
        profiles = cast("dict[str, dict[str, Any]]", document.pop("profiles", {}))
        if "profile" in document:
            raise BadDeclaration(file, "profile", "is chosen by EGOWORLD_ENV_PROFILE, not in this file")
        if profile and profile not in profiles:
            raise BadDeclaration(
                file, "profiles", f"has no '{profile}'; known: {', '.join(sorted(profiles)) or 'none'}"
            )
        try:
            for name, table in profiles.items():
                cls.model_validate(document | table | {"profile": name})
            rules = document | (profiles[profile] if profile else {}) | {"profile": profile}
            found = cls.model_validate(rules)
        except ValidationError as error:
            raise _wrong(file, error) from error
        if site is None or not site.is_file():
            return found
        try:
            return cls.model_validate(rules | cls._of_site(site))
        except ValidationError as error:
            raise _wrong(site, error) from error

    @classmethod
    def _of_site(cls, file: Path) -> dict[str, Any]:
        found = dict(read_toml(file))
        if fixed := {"platform", "profile", "profiles"} & found.keys():
            raise BadDeclaration(file, min(fixed), "is the same for every site")
        return found

    def check(self, env: str, entries: Iterable[dict[str, Any]]) -> None:
        """Raise LockRefused naming the first package that breaks a rule. entries: the packages of a lock."""
        for breach in self.breaches(entries):
            raise LockRefused(f"env '{env}': {breach.found}; {breach.fix}")

    def breaches(self, entries: Iterable[dict[str, Any]]) -> Iterator[Breach]:
        """What of the packages of a lock breaks a rule: source, CUDA, index, version."""
        listed = list(entries)
        has_cuda = any(canonicalize_name(entry["name"]).startswith(("nvidia-", "cuda-")) for entry in listed)
        for entry in listed:
            yield from _source(entry)
            yield from self._cuda(entry, has_cuda)
            yield from self._index(entry)
            yield from self._version(entry)

    def channel_breaches(self, channels: Iterable[str]) -> Iterator[Breach]:
        """What of an ordered list of conda channels breaks the rule on them."""
        places: list[int] = []
        for channel in channels:
            name = next((name for name in self.channels if channel.rstrip("/") in (name, name.rstrip("/"))), None)
            if name is None:
                name = next((name for name in self.channels if channel.rstrip("/").endswith(f"/{name}")), None)
            if name is None:
                allowed = ", ".join(self.channels) or "none"
                yield Breach(
                    "channels", f"conda channel {channel} is not allowed", f"allowed, in this order: {allowed}"
                )
            else:
                places.append(self.channels.index(name))
        if places != sorted(places):
            order = ", ".join(self.channels[place] for place in places)
            yield Breach("channels", f"conda channels are in the order {order}", f"use {', '.join(self.channels)}")

    def _cuda(self, entry: dict[str, Any], has_cuda: bool) -> Iterator[Breach]:
        if canonicalize_name(entry["name"]) not in self.cuda:
            return
        local = Version(entry.get("version", "0")).local or ""
        if local.startswith("cpu") or not (local.startswith("cu") or has_cuda):
            yield Breach(
                "cuda",
                f"{entry['name']} {entry.get('version')} is a CPU-only build and the servers need CUDA",
                "remove folders and indexes with +cpu wheels from uv's settings and lock again "
                "(machines without a GPU: EGOWORLD_ENV_PROFILE=cpu)",
            )

    def _index(self, entry: dict[str, Any]) -> Iterator[Breach]:
        if not self.indexes:
            return
        allowed = ", ".join(self.indexes)
        fix = f"allowed: {allowed}; lock again without the others, or add it to indexes in envs/policy.toml"
        index = entry.get("index", "")
        files = [*entry.get("wheels", []), *([entry["sdist"]] if "sdist" in entry else [])]
        if index and not origin_allowed(index, self.indexes, of_index=True):
            yield Breach("indexes", f"{entry['name']} comes from the index {index}", fix)
            return
        for file in [] if built_from(entry) else files:
            place = file.get("url") or file.get("path", "")
            if not origin_allowed(place, self.indexes):
                yield Breach("indexes", f"a file of {entry['name']} comes from {place}", fix)
                return

    def _version(self, entry: dict[str, Any]) -> Iterator[Breach]:
        for text in self.constraints:
            wanted = Requirement(text)
            version = entry.get("version")
            if version is None or canonicalize_name(wanted.name) != canonicalize_name(entry["name"]):
                continue
            if not wanted.specifier.contains(version, prereleases=True):
                fix = f"ask for a version that fits, or change constraints in envs/policy.toml ({text})"
                yield Breach("constraints", f"{entry['name']} {version} does not meet {wanted}", fix)


def _wrong(file: Path, error: ValidationError) -> BadDeclaration:
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    return BadDeclaration(file, ".".join(str(part) for part in first["loc"]), reason)


def _source(entry: dict[str, Any]) -> Iterator[Breach]:
    for key, kind in (("directory", "a folder"), ("archive", "an archive")):
        if key in entry:
            yield Breach(
                "source", f"{entry['name']} comes from {kind}", "allowed are an index and git with a full commit"
            )
    vcs = entry.get("vcs")
    if vcs and not (vcs.get("type", "git") == "git" and COMMIT.match(vcs.get("commit-id", ""))):
        fix = "name the 40 hex digits of its commit: name @ git+https://host/project@<commit>"
        yield Breach("git", f"{entry['name']} comes from {vcs.get('url')} without a full commit", fix)
