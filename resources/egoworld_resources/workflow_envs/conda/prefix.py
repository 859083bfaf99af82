"""The contents of a folder that conda packages were linked into, compared with their records in conda-meta."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.building.generations import READY, SUPERSEDED
from egoworld_resources.environments.building.installed_files import Files, path_of
from egoworld_resources.environments.building.verified_files import Known, Ledger
from egoworld_resources.workflow_envs.conda.packages import Package

META = "conda-meta"
LINKED = "hardlink"


def stamp(files: Files, ours: Sequence[str]) -> str:
    """Digest over path, size and time of every file but ``ours``: those that are written after the packages."""
    left_out = {READY, SUPERSEDED, *ours}
    lines = (one.rpartition("\t")[2] for one in files.identities if path_of(one) not in left_out)
    return hashlib.sha256("\0".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()


def records(prefix: Path) -> list[dict[str, Any]]:
    """The records in conda-meta, by file name."""
    return [json.loads(file.read_bytes()) for file in sorted((prefix / META).glob("*.json"))]


def name_origins(prefix: Path, packages: Sequence[Package]) -> None:
    """Write into the records where packages came from: they were linked from our cache."""
    by_name = {one.name: one for one in packages}
    for file in sorted((prefix / META).glob("*.json")):
        record = json.loads(file.read_bytes())
        one = by_name[record["name"]]
        record |= {"url": one.url, "channel": one.channel}
        file.write_text(json.dumps(record, indent=2), encoding="utf-8")
        file.chmod(0o644)


def damaged(prefix: Path, files: Files | None = None, ledger: Ledger | None = None) -> dict[str, list[str]]:
    """Package to those of its files that are missing or differ from what was linked; empty when all is well.

    With a ``ledger``, files that it knows as they are among ``files`` are not read.
    """
    found: dict[str, list[str]] = {}
    linked = {f"conda {one['name']}-{one['version']}-{one['build']} {one['sha256']}": one for one in records(prefix)}
    remembered = ledger.known(linked) if ledger else {}
    for key, record in linked.items():
        known = remembered.get(key)
        sure = {path_of(one) for one in known.shared & files.identities} if known and files else set[str]()
        digests = dict(_digests(record))
        wrong = _wrong(prefix, {path: digest for path, digest in digests.items() if path not in sure})
        if wrong:
            found[record["name"]] = wrong
        elif ledger and files and not sure:
            ledger.learn(key, _known(digests, files.shared))
    return found


def _known(digests: Mapping[str, str], shared: Mapping[str, str]) -> Known:
    return Known(frozenset(shared[path] for path in digests if path in shared), {})


def _digests(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and sha256 of each file in the prefix; "" for links and for files whose package records no sha256."""
    for entry in record["paths_data"]["paths"]:
        digest = entry.get("sha256_in_prefix") or entry.get("sha256") or ""
        yield entry["_path"], digest if entry["path_type"] == LINKED else ""


def _wrong(prefix: Path, digests: Mapping[str, str]) -> list[str]:
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        well = pool.map(lambda item: _is_whole(prefix / item[0], item[1]), digests.items())
        return [path for path, whole in zip(digests, well, strict=True) if not whole]


def _is_whole(file: Path, digest: str) -> bool:
    if not digest:
        return os.path.lexists(file)
    try:
        return file_digest(file) == digest
    except OSError:
        return False
