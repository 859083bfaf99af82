"""Making a lock: the declaration of a model env and the needs of the runner contract, compiled for linux-64."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tomli_w
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.contract import (
    requires_python,
    root_dependencies,
    root_overrides,
    root_source,
    runner_dependencies,
)
from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import EnvBuildFailed, LockRefused
from egoworld_resources.environments.locking.lockfile import (
    PYTHONS,
    Lock,
    addresses_of,
    digest_of,
    lowest_python,
    marker_environment,
)
from egoworld_resources.environments.locking.wheels import fits, wheel_tags
from egoworld_resources.environments.policy.rules import Policy

DEV = "dev"
"""Name of our own interpreter's lock with the tools of a developer; follows the base lock."""


@dataclass(frozen=True)
class Wanted:
    """What a lock is to be made from. constraints are kept beside those of the policy."""

    name: str
    dependencies: Sequence[str]
    python: str
    source: str
    sdists: Sequence[str] = ()
    overrides: Sequence[str] = ()
    constraints: Sequence[str] = ()


def lock(env: str, catalog: Catalog, uv: Uv, *, upgrade: bool = False, profile: str = "") -> list[Path]:
    """Compile the lock of ``env`` and return the files written; "base" also makes the lock of the developer tools.

    Versions of the lock that is there are kept where they still fit, unless ``upgrade``. profile: of envs/policy.toml;
    its locks are in a folder of that name next to the others. Raises LockRefused with the resolver's own words, or
    naming the package that breaks envs/policy.toml; the old lock then stays as it is.
    """
    policy = Policy.read(catalog.envs_folders[0] / "policy.toml", profile)
    if env == BASE and profile:
        raise LockRefused(f"our own interpreter holds no CUDA; lock it without the profile {profile}")
    if env == BASE:
        return _lock_base(catalog, uv, policy, upgrade)
    found = catalog.env(env)
    if found.runs_in != env:
        whose = "our own interpreter" if found.runs_in == BASE else f"the interpreter of '{found.runs_in}'"
        raise LockRefused(f"env '{env}' runs in {whose}; lock that with: make lock ENV={found.runs_in}")
    target = catalog.lock_path(env)
    if profile and target.parent.name != profile:
        target = target.parent / profile / target.name
    return [_compile(wanted_of(env, catalog), target, uv, policy, upgrade)]


def wanted_of(env: str, catalog: Catalog) -> Wanted:
    """What the lock of an env is made from."""
    found = catalog.env(env)
    return Wanted(
        name=env,
        dependencies=[*found.dependencies, *runner_dependencies()],
        python=found.python,
        source=catalog.lock_source(env),
        sdists=found.sdists,
        overrides=found.overrides,
    )


def wanted_of_base(root: Path) -> Wanted:
    """What the lock of our own interpreter is made from. root: its pyproject.toml."""
    python, overrides = requires_python(root), root_overrides(root)
    return Wanted(BASE, root_dependencies(root), python, root_source(root), overrides=overrides)


def _lock_base(catalog: Catalog, uv: Uv, policy: Policy, upgrade: bool) -> list[Path]:
    folder = catalog.locks_folders[0]
    root = folder.parent / "pyproject.toml"
    base = wanted_of_base(root)
    python = base.python
    written = _compile(base, folder / "pylock.base.toml", uv, policy, upgrade)
    versions = Lock.read(BASE, written).packages(lowest_python(python))
    same = [f"{name}=={version}" for name, version in versions.items()]
    needed, source = root_dependencies(root, DEV), root_source(root, DEV)
    tools = Wanted(DEV, needed, python, source, overrides=base.overrides, constraints=same)
    return [written, _compile(tools, folder / "pylock.dev.toml", uv, policy, upgrade)]


def _compile(wanted: Wanted, target: Path, uv: Uv, policy: Policy, upgrade: bool) -> Path:
    with tempfile.TemporaryDirectory(prefix="egoworld-lock-") as folder:
        work = Path(folder)
        output = work / target.name
        if target.is_file() and not upgrade:
            output.write_bytes(target.read_bytes())
        command = prepare(wanted, work, policy)
        what = f"locking env '{wanted.name}'"
        try:
            uv.run([*command, "--quiet", "--format", "pylock.toml", "-o", output.name], work, what=what)
            annotated = uv.run([*command, "--quiet", "--no-annotate", "--emit-index-annotation"], work, what=what)
        except EnvBuildFailed as error:
            raise LockRefused(str(error)) from error
        entries = linux_entries(
            wanted.name,
            deepcopy(read_toml(output).get("packages", [])),
            python=wanted.python,
            policy=policy,
            sdists=wanted.sdists,
            indexes=_indexes(annotated),
        )
    policy.check(wanted.name, entries)
    made_by = f"make lock ENV={BASE if wanted.name == DEV else wanted.name}"
    facts = {"made_by": made_by, "python": wanted.python, "source": wanted.source, "profile": policy.profile}
    return write_lock(target, entries, **facts)


def prepare(wanted: Wanted, work: Path, policy: Policy) -> list[str]:
    """Write into the folder ``work`` what uv resolves there; returns the words of its command."""
    (work / "pyproject.toml").write_text(tomli_w.dumps(_project(wanted)), encoding="utf-8")
    bounds = [*policy.constraints, *wanted.constraints]
    (work / "constraints.txt").write_text("\n".join(bounds), encoding="utf-8")
    return [
        *("pip", "compile", "pyproject.toml", "--universal", "--fork-strategy", "fewest"),
        *("--python-version", lowest_python(wanted.python), "--constraints", "constraints.txt"),
        *("--only-binary", ":all:", *(part for name in wanted.sdists for part in ("--no-binary", name))),
    ]


def _project(wanted: Wanted) -> dict[str, Any]:
    linux = "sys_platform == 'linux' and platform_machine == 'x86_64'"
    return {
        "project": {
            "name": f"egoworld-lock-{wanted.name}",
            "version": "0",
            "requires-python": wanted.python,
            "dependencies": list(wanted.dependencies),
        },
        "tool": {
            "uv": {
                # nothing of an sdist runs while it is locked: what it needs is named in the env's own dependencies
                "dependency-metadata": [{"name": name, "requires-dist": []} for name in wanted.sdists],
                "environments": [linux],
                "required-environments": [linux],
                "override-dependencies": list(wanted.overrides),
            }
        },
    }


def _indexes(annotated: str) -> dict[str, str]:
    """Package to index, from requirement lines that are each followed by ``# from <index>``.

    uv leaves the index out of the pylock that it compiles, and looks a package up in its cache under its index only.
    """
    found: dict[str, str] = {}
    name = ""
    for line in annotated.splitlines():
        word, _, rest = line.strip().partition(" from ")
        if word == "#":
            found[name] = rest
        else:
            name = line.partition("==")[0].strip()
    return found


def linux_entries(
    env: str,
    entries: list[dict[str, Any]],
    *,
    python: str,
    policy: Policy,
    sdists: Sequence[str] = (),
    indexes: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The packages that linux-64 installs, with the files that fit: no other platform, no musl, no sdist but listed.

    python: the env's requires-python. Raises LockRefused for a package that has no file left.
    """
    pythons = [version for version in PYTHONS if SpecifierSet(python).contains(f"{version}.99")]
    tags = {tag for version in pythons for tag in wheel_tags(version, policy.glibc)}
    built = {canonicalize_name(name) for name in sdists}
    kept: list[dict[str, Any]] = []
    for entry in entries:
        holds = [_holds(entry.get("marker"), version) for version in pythons]
        if not any(holds):
            continue
        slim = {key: entry[key] for key in ("name", "version", "vcs", "directory", "archive", "tool") if key in entry}
        if not all(holds):
            slim["marker"] = entry["marker"]
        if index := (indexes or {}).get(entry["name"]) or entry.get("index"):
            slim["index"] = index
        if entry["name"] in built and "sdist" in entry:
            slim["sdist"] = _file(entry["sdist"])
        elif "wheels" in entry or "sdist" in entry:
            slim["wheels"] = [_file(wheel) for wheel in entry.get("wheels", []) if fits(wheel, tags)]
            if not slim["wheels"]:
                raise LockRefused(
                    f"env '{env}': {entry['name']} {entry.get('version')} has no wheel for linux x86_64 with "
                    f"Python {' or '.join(pythons)} and glibc {policy.glibc}; pin another version or list it in sdists"
                )
        kept.append(slim)
    return kept


def _holds(marker: str | None, python: str) -> bool:
    return marker is None or Marker(marker).evaluate(marker_environment(python))


def _file(file: dict[str, Any]) -> dict[str, Any]:
    return {key: file[key] for key in ("name", "url", "path", "hashes") if key in file}


def write_lock(
    target: Path,
    entries: list[dict[str, Any]],
    *,
    made_by: str,
    python: str,
    source: str,
    profile: str = "",
    resolved: str = "",
) -> Path:
    """Write a pylock (PEP 751), whole or not at all.

    source: digest of the declaration; python: requires-python; profile: of the policy that it was made under; resolved:
    sha256 of uv's own lock that it was made from.
    """
    lines = [
        f"# Made by `{made_by}`; never edited.",
        'lock-version = "1.0"',
        'created-by = "egoworld"',
        f"requires-python = {_toml(python)}",
        *([] if entries else ["packages = []"]),
    ]
    for entry in entries:
        lines += ["", "[[packages]]"]
        for key, value in entry.items():
            if isinstance(value, list):
                files = cast("list[Any]", value)
                lines += [f"{key} = [", *(f"    {_toml(file)}," for file in files), "]"]
            else:
                lines.append(f"{key} = {_toml(value)}")
    lines += ["", "[tool.egoworld]", f"source = {_toml(source)}", f"digest = {_toml(digest_of(entries))}"]
    lines += [f"addresses = {_toml(addresses_of(entries))}"]
    lines += [f"{key} = {_toml(value)}" for key, value in (("profile", profile), ("resolved", resolved)) if value]
    lines += [""]
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text("\n".join(lines), encoding="utf-8")
    fresh.replace(target)
    return target


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in table.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
