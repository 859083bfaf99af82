"""conda-lock.yml, the lock of the program conda-lock: read into our own, and written from an env that is installed.

Format, version 1: https://conda.github.io/conda-lock/output/#unified-lockfile
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from egoworld_resources.workflow_envs.conda.archives import Archives
from egoworld_resources.workflow_envs.conda.declaration import FILE, LOCK, Declaration
from egoworld_resources.workflow_envs.conda.packages import PLATFORM, Locked, Package, digest_of, read_explicit
from egoworld_resources.workflow_envs.conda.prefix import records
from egoworld_resources.workflow_envs.errors import InvalidPackages

VERSION = 1
MAIN = "main"


def read_conda_lock(text: str) -> Locked:
    """The packages for linux-64 of its main category. Raises InvalidPackages naming what cannot be used."""
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidPackages(f"conda-lock.yml is no YAML: {error}") from error
    if not isinstance(found, dict) or found.get("version") != VERSION or not isinstance(found.get("package"), list):
        raise InvalidPackages(
            "this is not a conda-lock.yml of version 1: `version: 1` and a list `package` are expected"
        )
    entries = [one for one in cast(list[Mapping[str, Any]], found["package"]) if one.get("platform") == PLATFORM]
    if not entries:
        raise InvalidPackages(
            f"conda-lock.yml locks nothing for {PLATFORM}; lock again with `conda-lock -p {PLATFORM}`"
        )
    if wheels := sorted(str(one.get("name")) for one in entries if one.get("manager") != "conda"):
        raise InvalidPackages(
            f"conda-lock.yml has a pip section ({', '.join(wheels[:5])}), which is not mixed into a conda env; put "
            "these packages into an env of the backend uv"
        )
    taken = [one for one in entries if one.get("category", MAIN) == MAIN and not one.get("optional")]
    packages = tuple(sorted(_package(one) for one in taken))
    needed = {name for one in taken for name in one.get("dependencies") or {}}
    return Locked(_roots(packages, needed), packages)


def read_explicit_lock(text: str) -> Locked:
    """The packages of an @EXPLICIT text, which does not record who needs whom: each is a dependency."""
    packages = read_explicit(text)
    return Locked(_roots(packages, set()), packages)


def write_conda_lock(generation: Path, archives: Archives) -> str:
    """The text of a conda-lock.yml of an installed env.

    What needs what is read from its conda-meta, and the md5 that the program asks for, from the archives.
    """
    declaration = Declaration.read(generation)
    packages = read_explicit((generation / LOCK).read_text(encoding="utf-8"))
    files = archives.fetched(packages)
    metas = {one["name"]: one for one in records(generation)}
    written = {
        "version": VERSION,
        "metadata": {
            "content_hash": {PLATFORM: digest_of(packages)},
            "channels": [{"url": channel, "used_env_vars": []} for channel in declaration.channels],
            "platforms": [PLATFORM],
            "sources": [FILE],
        },
        "package": [_entry(one, metas[one.name], file) for one, file in zip(packages, files, strict=True)],
    }
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True)


def _roots(packages: tuple[Package, ...], needed: set[str]) -> tuple[str, ...]:
    return tuple(f"{one.name} =={one.version}" for one in packages if one.name not in needed or one.name == "python")


def _package(entry: Mapping[str, Any]) -> Package:
    url, hashes = str(entry.get("url", "")), entry.get("hash") or {}
    if not hashes.get("sha256"):
        raise InvalidPackages(f"{url} has no sha256 in conda-lock.yml, so what would be installed cannot be checked")
    package = Package.of(url, str(hashes["sha256"]))
    if (package.name, package.version) != (entry.get("name"), str(entry.get("version"))):
        raise InvalidPackages(f"conda-lock.yml calls {package.file} {entry.get('name')} {entry.get('version')}")
    return package


def _entry(package: Package, meta: Mapping[str, Any], archive: Path) -> dict[str, Any]:
    with archive.open("rb") as content:
        md5 = hashlib.file_digest(content, "md5").hexdigest()
    needs = (spec.partition(" ") for spec in meta["depends"])
    return {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": PLATFORM,
        "dependencies": {name: version for name, _, version in needs if not name.startswith("__")},
        "url": package.url,
        "hash": {"md5": md5, "sha256": package.sha256},
        "category": MAIN,
        "optional": False,
    }
