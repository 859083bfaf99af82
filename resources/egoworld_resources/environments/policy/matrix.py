"""envs/matrix.md: what each lock needs of the machine, and what changed in which lock, when, for which stages."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.errors import BadDeclaration, LockMissing
from egoworld_resources.environments.locking.lockfile import Lock, lowest_python
from egoworld_resources.environments.locking.resolve import DEV
from egoworld_resources.environments.locking.wheels import LEGACY, wheel_name, wheel_tags
from egoworld_resources.environments.policy.drivers import cuda_version, oldest_driver
from egoworld_resources.environments.policy.rules import Breach, Policy

MATRIX = "matrix.md"
NONE = "–"

HEAD = """\
# What each lock needs of the machine

Written by `egoworld env matrix` from the locks, never edited; `egoworld env check` fails while it is out of date.

"""
FOOT = """
- driver: the oldest NVIDIA driver that this CUDA runs on, by
  [NVIDIA's table](https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html); the driver is
  the host's, everything else of CUDA is in the lock
- glibc: the newest that a wheel of the lock asks for, by its file name (PEP 600), and of which package
- gcc, cmake, ninja: – means that nothing is compiled, all are wheels; a version is that of a package in the lock

## Locked versions

The next change is described against these.

"""
CHANGES = """
## Changes

| date | env | stages | what changed |
|---|---|---|---|
"""
COLUMNS = ("env", "python", "driver", "glibc", "CUDA", "cuDNN", "NCCL", "torch", "gcc", "cmake", "ninja")
RECORDED = re.compile(r"^- `(?P<env>\w+)` (?P<digest>[0-9a-f]{12}): (?P<versions>.*)$")
VERSION = re.compile(r"^(?P<name>\S+) (?P<version>.+)$")


@dataclass(frozen=True)
class Locked:
    """One lock as a row of the matrix.

    versions: by package, several of one package joined by "/"; stages: those that its env serves.
    """

    env: str
    digest: str
    versions: Mapping[str, str]
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A line of the log."""

    date: str
    env: str
    stages: str
    what: str

    def row(self) -> str:
        return f"| {self.date} | {self.env} | {self.stages or NONE} | {self.what} |"


def write_matrix(catalog: Catalog, policy: Policy, file: Path, today: dt.date) -> list[Change]:
    """Bring ``file`` up to date; returns the changes that were added to its log, dated ``today``.

    Nothing is written when nothing changed. Raises LockMissing, and BadDeclaration for a file that was edited.
    """
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    before, log = _recorded(text, file)
    changes = [Change(today.isoformat(), *change) for change in _changes(before, list(locked(catalog)))]
    fresh = _rendered(catalog, policy, [*log, *changes])
    if fresh != text:
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_text(fresh, encoding="utf-8")
        beside.replace(file)
    return changes


def matrix_breach(catalog: Catalog, policy: Policy, file: Path) -> Breach | None:
    """What in ``file`` is out of date; None if it is current."""
    if not file.is_file():
        return Breach("matrix", "missing", "egoworld env matrix")
    text = file.read_text(encoding="utf-8")
    before, log = _recorded(text, file)
    try:
        now = list(locked(catalog))
    except (LockMissing, BadDeclaration) as error:
        return Breach("matrix", f"cannot be compared: {error}", "make that lock, then: egoworld env matrix")
    if changes := list(_changes(before, now)):
        listed = "; ".join(f"{env}: {what}" for env, _, what in changes)
        return Breach("matrix", f"locks changed without it ({listed})", "egoworld env matrix")
    if text != _rendered(catalog, policy, log):
        return Breach("matrix", "its table is not what the locks give", "egoworld env matrix")
    return None


def locked(catalog: Catalog) -> Iterator[Locked]:
    """Every lock of the catalog, that of the developer's tools included."""
    for env, (lock, stages) in _locks(catalog).items():
        versions: dict[str, list[str]] = {}
        for entry in lock.entries:
            commit = entry.get("vcs", {}).get("commit-id", "unversioned")
            versions.setdefault(entry["name"], []).append(entry.get("version") or commit[:12])
        yield Locked(env, lock.digest[:12], {name: "/".join(found) for name, found in versions.items()}, stages)


def _locks(catalog: Catalog) -> dict[str, tuple[Lock, tuple[str, ...]]]:
    found: dict[str, tuple[Lock, tuple[str, ...]]] = {}
    for name in catalog.names:
        env = catalog.env(name)
        of = env.runs_in
        served = {*env.stages, *(found[of][1] if of in found else ())}
        found[of] = Lock.read(of, catalog.lock_path(name)), tuple(sorted(served))
    tools = catalog.locks_folders[0] / f"pylock.{DEV}.toml"
    if tools.is_file():
        found[DEV] = Lock.read(DEV, tools), ()
    return dict(sorted(found.items()))


def _changes(before: Mapping[str, Locked], now: list[Locked]) -> Iterator[tuple[str, str, str]]:
    """Env, its stages and what changed, for every lock whose digest is another."""
    for lock in now:
        stages = ", ".join(lock.stages)
        old = before.get(lock.env)
        if old is None:
            yield lock.env, stages, f"first lock: {len(lock.versions)} packages"
        elif old.digest != lock.digest:
            yield lock.env, stages, _told(old.versions, lock.versions)
    for env in sorted(set(before) - {lock.env for lock in now}):
        yield env, "", "no longer locked"


def _told(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changes = [f"{name} {old[name]} -> {new[name]}" for name in sorted({*old} & {*new}) if old[name] != new[name]]
    changes += [f"{name} {new[name]} added" for name in sorted({*new} - {*old})]
    changes += [f"{name} {old[name]} removed" for name in sorted({*old} - {*new})]
    return ", ".join(changes) or "the same versions from other files, or under other markers"


def _recorded(text: str, file: Path) -> tuple[dict[str, Locked], list[Change]]:
    """The locks and the log in the file; raises BadDeclaration naming a line that is neither."""
    _, _, rest = text.partition("\n## Locked versions\n")
    versions, _, log = rest.partition(CHANGES)
    found: dict[str, Locked] = {}
    for line in versions.splitlines():
        match = RECORDED.match(line)
        if match:
            each = [VERSION.match(one) for one in match["versions"].split(", ")]
            packages = {one["name"]: one["version"] for one in each if one}
            found[match["env"]] = Locked(match["env"], match["digest"], packages)
        elif line.startswith(("-", "<", "=", ">")):
            raise _edited(file, line)
    changes: list[Change] = []
    for line in log.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 4:
            raise _edited(file, line)
        changes.append(Change(cells[0], cells[1], "" if cells[2] == NONE else cells[2], cells[3]))
    if text and not found:
        raise _edited(file, text.partition("\n")[0])
    return found, changes


def _edited(file: Path, line: str) -> BadDeclaration:
    return BadDeclaration(file, "line", f"{line[:80]!r} was not written by `egoworld env matrix`; restore it from git")


def _rendered(catalog: Catalog, policy: Policy, log: list[Change]) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    rows += [_row(catalog, name, lock, policy) for name, (lock, _) in _locks(catalog).items()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
    versions = [
        f"- `{lock.env}` {lock.digest}: {', '.join(f'{name} {version}' for name, version in lock.versions.items())}"
        for lock in locked(catalog)
    ]
    rows = "".join(f"{change.row()}\n" for change in log)
    return HEAD + table + FOOT + "\n".join(versions) + "\n" + CHANGES + rows


def _row(catalog: Catalog, name: str, lock: Lock, policy: Policy) -> tuple[str, ...]:
    python = lowest_python(lock.python)
    packages = lock.packages(python)
    cuda = cuda_version(packages)
    sdists = catalog.env(name).sdists if name in catalog.names else ()
    driver = oldest_driver(cuda)
    return (
        name,
        lock.python,
        f"{driver}" if driver else f"{NONE} (not known for CUDA {cuda})" if cuda else NONE,
        _glibc(lock, python, policy),
        cuda or NONE,
        _package(packages, r"nvidia-cudnn(-cu\d+)?"),
        _package(packages, r"nvidia-nccl(-cu\d+)?"),
        packages.get("torch", NONE),
        f"any, for {', '.join(sdists)}" if sdists else _package(packages, r"gcc"),
        _package(packages, r"cmake"),
        _package(packages, r"ninja"),
    )


def _package(packages: Mapping[str, str], pattern: str) -> str:
    return next((version for name, version in packages.items() if re.fullmatch(pattern, name)), NONE)


def _glibc(lock: Lock, python: str, policy: Policy) -> str:
    """The newest glibc that a package asks for, when of its wheels the one is taken that asks for the oldest."""
    tags = set(wheel_tags(python, policy.glibc))
    installed = lock.packages(python)
    wanting: dict[Version, list[str]] = {}
    for entry in lock.entries:
        wheels = [parse_wheel_filename(wheel_name(file))[3] & tags for file in entry.get("wheels", [])]
        each = [min((_asks(tag) for tag in wheel), default=None) for wheel in wheels if wheel]
        wanted = min((one for one in each if one), default=None)
        if wanted and wanted > Version("0") and entry["name"] in installed:
            wanting.setdefault(wanted, []).append(entry["name"])
    if not wanting:
        return NONE
    newest = max(wanting)
    names = sorted(wanting[newest])
    return f"{newest} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"


def _asks(tag: Tag) -> Version:
    """The glibc that a wheel's tag asks for; 0 for one that runs anywhere."""
    if match := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
        return Version(f"{match[1]}.{match[2]}")
    old = next((minor for minor, name in LEGACY.items() if tag.platform.startswith(f"{name}_")), 0)
    return Version(f"2.{old}") if old else Version("0")
