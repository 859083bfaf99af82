"""Asking every env, its lock and its code about the rules of envs/policy.toml."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from egoworld_resources.environments.building.generations import Generations, site_packages
from egoworld_resources.environments.catalog import BASE, Catalog, ModelEnv
from egoworld_resources.environments.checkout import from_kit
from egoworld_resources.environments.contract import contract_folder, root_dependencies, root_overrides, root_source
from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import BadDeclaration, LockEdited, LockMissing, LockStale
from egoworld_resources.environments.locking.lockfile import PYTHONS, Lock
from egoworld_resources.environments.locking.resolve import DEV
from egoworld_resources.environments.locking.wheels import fits, wheel_name, wheel_tags
from egoworld_resources.environments.policy.licences import stated_licences
from egoworld_resources.environments.policy.pickles import pickle_breaches
from egoworld_resources.environments.policy.rules import COMMIT, Breach, Policy
from egoworld_resources.environments.policy.runtime_installs import installations
from egoworld_resources.environments.policy.split import split_breaches
from egoworld_resources.errors import BadConfiguration

UV_KEYS = {"override-dependencies"}
"""What locking reads of an env's [tool.uv]; anything else would look as if it worked."""


@dataclass(frozen=True)
class Found:
    """A breach and the file that it is in."""

    file: Path
    breach: Breach

    def line(self, project: Path) -> str:
        """One line: file, rule, problem, fix."""
        file = self.file.relative_to(project) if self.file.is_relative_to(project) else self.file
        return f"{file}: {self.breach.rule}: {self.breach.found}; {self.breach.fix}"


@dataclass
class Checked:
    """What was checked.

    packages: locked ones; unread: those whose licence could not be read; unbuilt: envs that are not built.
    """

    found: list[Found] = field(default_factory=list[Found])
    envs: int = 0
    packages: int = 0
    unread: list[str] = field(default_factory=list[str])
    unbuilt: list[str] = field(default_factory=list[str])

    def summary(self) -> str:
        """The counts; licences that were not read never look as if they had passed."""
        read = self.packages - len(self.unread)
        summary = f"{self.envs} envs, licences of {read} of {self.packages} locked packages read"
        if self.unbuilt:
            summary += f", not built, licences not read: {', '.join(self.unbuilt)}"
        elif self.unread:
            summary += f", not installed under this Python: {', '.join(self.unread)}"
        return f"{summary}; {len(self.found)} breaches"


def check(catalog: Catalog, policy: Policy, built: Path) -> Checked:
    """Ask everything. built: the folder of built envs; licences of packages are read there.

    What cannot be read at all (a broken pyproject.toml) is raised as BadDeclaration while the catalog is loaded.
    """
    checked = Checked(envs=len(catalog.names))
    locks: dict[str, Lock] = {}
    for name in catalog.names:
        env = catalog.env(name)
        checked.found += [Found(env.pyproject, breach) for breach in _declared(env, policy)]
        checked.found += [Found(env.pyproject, breach) for breach in pickle_breaches(env, policy)]
        checked.found += [Found(file, breach) for file, breach in installations(env.folder)]
        if env.runs_in != name and env.runs_in in catalog.names:
            continue  # its lock is checked with the env that has it
        lock, missing = _lock(catalog, env)
        checked.found += missing
        if lock:
            locks[env.runs_in] = lock
            breaches = [*lock_breaches(lock, env.sdists, policy), *_commits(env, lock)]
            checked.found += [Found(lock.path, breach) for breach in breaches]
    rules = catalog.envs_folders[0] / "policy.toml"
    checked.found += [Found(rules, breach) for breach in split_breaches(catalog, policy)]
    checked.found += [Found(file, breach) for file, breach in installations(contract_folder().parent)]
    checked.found += _root(catalog, policy, locks)
    for folder in catalog.locks_folders:
        checked.found += _without_digest(sorted(folder.glob("*.txt")))
    checked.found += _left_over(catalog, locks)
    checked.found += _licences(policy, locks, built, checked, catalog)
    return checked


def _lock(catalog: Catalog, env: ModelEnv) -> tuple[Lock | None, list[Found]]:
    path = catalog.lock_path(env.name)
    try:
        return catalog.lock(env.name), []
    except (LockMissing, LockStale, BadDeclaration) as error:
        name = env.runs_in
        lock = Lock.read(name, path) if isinstance(error, LockStale) else None
        return lock, [Found(path, Breach("lock", _why(error, name), f"make lock ENV={name}"))]


def _why(error: LockMissing | LockStale | BadDeclaration, name: str) -> str:
    if isinstance(error, LockMissing):
        return "missing"
    if isinstance(error, BadDeclaration):
        return f"cannot be read: {error}"
    by_hand = isinstance(error, LockEdited)
    return "was changed by hand" if by_hand else f"was made from other dependencies than {name} names"


def _declared(env: ModelEnv, policy: Policy) -> Iterator[Breach]:
    """What of a pyproject.toml breaks a rule: git, indexes of its own, licences of models and weights."""
    yield from git_breaches([*env.dependencies, *env.overrides])
    keys = cast("dict[str, Any]", read_toml(env.pyproject).get("tool", {}).get("uv", {}))
    for key in sorted(set(keys) - UV_KEYS):
        fix = "indexes are named in envs/policy.toml, sources with the dependency (name @ git+https://...@<commit>)"
        yield Breach("indexes", f"[tool.uv] {key} is not read by `make lock`", f"remove it; {fix}")
    for stage, model in env.stages.items():
        subjects = [(f"stage {stage}", model.licence), *((f"weights {w.name}", w.licence) for w in model.weights)]
        subjects += [(f"outputs of stage {stage}", model.outputs)] if model.outputs else []
        for what, licence in subjects:
            if why := policy.licences.of_model(licence):
                yield Breach(
                    "licences",
                    f"licence of {what}: {why}",
                    "choose another model, or decide in [licences] of envs/policy.toml",
                )


def git_breaches(requirements: Iterable[str]) -> Iterator[Breach]:
    """Requirements by address that are not git over https at a full commit."""
    for text in requirements:
        requirement = Requirement(text)
        if not requirement.url:
            continue
        address, _, commit = requirement.url.partition("#")[0].rpartition("@")
        if not address.startswith("git+https://"):
            yield Breach(
                "git",
                f"{requirement.name} is declared as {requirement.url}",
                "allowed are versions of an index and name @ git+https://host/project@<commit>",
            )
        elif not COMMIT.match(commit):
            yield Breach(
                "git",
                f"{requirement.name} is declared at '{commit}', not at a full commit",
                "name the 40 hex digits of the commit after the @, then make the lock again",
            )


def _commits(env: ModelEnv, lock: Lock) -> Iterator[Breach]:
    """Git dependencies whose commit in the lock is not the declared one."""
    locked = {canonicalize_name(entry["name"]): entry.get("vcs", {}).get("commit-id") for entry in lock.entries}
    for requirement in (Requirement(text) for text in env.dependencies):
        commit = (requirement.url or "").partition("#")[0].rpartition("@")[2]
        found = locked.get(canonicalize_name(requirement.name))
        if COMMIT.match(commit) and found != commit:
            what = f"{requirement.name} is locked at {found}, declared at {commit}"
            yield Breach("git", what, f"make lock ENV={env.name}")


def lock_breaches(lock: Lock, sdists: Sequence[str], policy: Policy) -> Iterator[Breach]:
    """What of a lock breaks a rule. sdists: packages that may be built."""
    yield from policy.breaches(lock.entries)
    renew = "make the lock again: only `make lock` writes locks"
    made_for = lock.profile
    if made_for != policy.profile and made_for:
        yield Breach("cuda", f"was made for the profile {made_for}", f"keep it in locks/{made_for}/; {renew}")
    pythons = [version for version in PYTHONS if SpecifierSet(lock.python).contains(f"{version}.99")]
    tags = {tag for version in pythons for tag in wheel_tags(version, policy.glibc)}
    allowed = {canonicalize_name(name) for name in sdists}
    for entry in lock.entries:
        wheels = entry.get("wheels", [])
        for file in wheels:
            if not fits(file, tags):
                name = wheel_name(file)
                kind = "a musllinux wheel" if "musllinux" in name else "no wheel"
                wanted = f"glibc {policy.glibc} and Python {' or '.join(pythons)}"
                what = f"{name} is {kind} for {policy.platform} with {wanted}"
                yield Breach("linux-64", what, renew)
        if ("sdist" in entry or not (wheels or "vcs" in entry)) and canonicalize_name(entry["name"]) not in allowed:
            fix = f"pin a version with wheels, or name it in sdists of the env with the reason; {renew}"
            yield Breach("wheels", f"{entry['name']} {entry.get('version')} would be built from source", fix)
        for file in [*wheels, *([entry["sdist"]] if "sdist" in entry else [])]:
            if len(file.get("hashes", {}).get("sha256", "")) != 64:
                yield Breach("lock", f"a file of {entry['name']} has no sha256", renew)


def _root(catalog: Catalog, policy: Policy, locks: dict[str, Lock]) -> list[Found]:
    """Our own interpreter with the developer's tools: the root pyproject.toml and locks/pylock.dev.toml."""
    root = catalog.envs_folders[0].parent / "pyproject.toml"
    file = root.parent / "locks" / f"pylock.{DEV}.toml"
    if BASE not in locks or not root.is_file():
        return []
    declared = [*root_dependencies(root, DEV), *root_overrides(root)]
    found = [Found(root, breach) for breach in git_breaches(declared)]
    try:
        lock = Lock.read(DEV, file)
        lock.check(BASE, root_source(root, DEV), root)
    except BadConfiguration:
        return [
            *found,
            Found(file, Breach("lock", "missing for the current tools", f"make lock ENV={BASE}")),
        ]
    locks[DEV] = lock
    return [*found, *(Found(file, breach) for breach in lock_breaches(lock, [], policy))]


def _without_digest(files: Iterable[Path]) -> Iterator[Found]:
    """Requirements of pip's locks (tools that install before any env is there) without a sha256."""
    for file in files:
        text = file.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            name = line.partition("#")[0].partition("==")[0].strip()
            if name and "--hash=sha256:" not in line:
                yield Found(file, Breach("lock", f"{name} has no sha256", "compile it with --generate-hashes"))


def _left_over(catalog: Catalog, locks: dict[str, Lock]) -> Iterator[Found]:
    wanted = {lock.path for lock in locks.values()} | {catalog.lock_path(name) for name in catalog.names}
    for folder in catalog.locks_folders:
        for file in sorted(folder.glob("pylock.*.toml")):
            shadowed = any(file.name == lock.name for lock in wanted)
            if file not in wanted and not shadowed:
                yield Found(file, Breach("lock", "no env declares it", "remove it, or add the folder of its env"))


def _licences(
    policy: Policy, locks: dict[str, Lock], built: Path, checked: Checked, catalog: Catalog
) -> Iterator[Found]:
    """Licences of what is locked, read where it is installed; each package and version once."""
    stated: dict[tuple[str, str], str] = {}
    where: dict[tuple[str, str], Path] = {}
    for name, lock in locks.items():
        folder = _installed(name, built)
        if folder is None:
            checked.unbuilt.append(name)
        else:
            stated |= stated_licences(folder)
        for entry in lock.entries:
            if "version" in entry:
                where.setdefault((canonicalize_name(entry["name"]), entry["version"]), lock.path)
    checked.packages = len(where)
    for package, file in sorted(where.items()):
        if package not in stated:
            checked.unread.append(" ".join(package))
        elif why := policy.licences.of_package(package[0], stated[package]):
            fix = "choose another package, or decide in [licences] of envs/policy.toml (packages, told, excepted)"
            yield Found(file, Breach("licences", f"licence of {package[0]} {package[1]}: {why}", fix))
    rules = catalog.envs_folders[0] / "policy.toml"
    if from_kit(rules.parent.parent):
        return
    for name in sorted(policy.licences.named_packages() - {name for name, _ in where}):
        yield Found(rules, Breach("licences", f"names {name}, which no lock has any more", "remove it there"))


def _installed(name: str, built: Path) -> Path | None:
    """Where the packages of an env are installed, or None while it is not built."""
    if name in (BASE, DEV):
        return Path(sysconfig.get_path("purelib"))
    generation = Generations(built / name).current()
    return site_packages(generation) if generation else None
