"""Removing what is no longer needed from a store: first a plan, then, if asked for, that very plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from egoworld_resources.artifacts.manifest import MANIFEST, Manifest
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.store.fsck import Fault, Version, faults_of, source_faults, versions
from egoworld_resources.store.protocol import Inspected


@dataclass(frozen=True)
class Policy:
    """Which versions that nothing needs may go: all but the ``keep`` youngest of an artifact, if older than this."""

    keep: int = 1
    older_than: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Removal:
    """What would go together, and why. keys: in the order in which they go, a manifest before its files."""

    what: str
    why: str
    keys: tuple[str, ...]
    bytes: int
    version: Version | None = None


def plan(store: Inspected, policy: Policy, now: datetime | None = None) -> Iterator[Removal]:
    """What may be removed.

    Never a live version, nor one that a live version was made from (directly or through others), nor the bytes of a
    known video, nor anything that may still be being written. Where a live version cannot be read nothing is.
    """
    now = now or datetime.now(UTC)
    for _, group in groupby(versions(store), key=lambda version: (version.asset, version.video)):
        found = list(group)
        for version in found:
            orphans = [f for f in faults_of(store, version, quick=True, now=now) if f.kind == "orphaned"]
            if orphans and now - version.modified > policy.older_than:
                yield orphaned(version.key, orphans)
        whole = sorted((v for v in found if v.manifest), key=lambda v: v.modified, reverse=True)
        if len(whole) > policy.keep:
            yield from outlived(store, whole, policy, now)
    faults = source_faults(store, quick=True, now=now - policy.older_than)
    yield from (orphaned(fault.key, [fault]) for fault in faults if fault.kind == "orphaned")


def outlived(store: Inspected, whole: list[Version], policy: Policy, now: datetime) -> Iterator[Removal]:
    """Those of an artifact's versions, youngest first, that nothing needs and the policy lets go."""
    try:
        needed = needed_versions(store, whole[0].video)
    except DamagedArtifact:
        return
    for version in [v for v in whole if v.key not in needed][policy.keep :]:
        if now - version.modified > policy.older_than:
            manifest = f"{version.key}/{MANIFEST}"
            keys = (manifest, *(o.key for o in version.objects if o.key != manifest))
            since = version.modified.isoformat(timespec="seconds")
            yield Removal(version.key, f"old version, written {since}", keys, version.bytes, version)


def needed_versions(store: Inspected, video: str) -> set[str]:
    """Keys of everything of a video that is live or that something live was made from, directly or through others."""
    needed: set[str] = set()

    def need(manifest: Manifest | None) -> None:
        if manifest is None or (key := f"artifacts/{manifest.asset}/{video}/{manifest.data_version}") in needed:
            return
        needed.add(key)
        for asset, data_version in manifest.inputs.items():
            if data_version and asset != "source":
                need(store.version(asset, video, data_version))

    for asset in store.assets():
        need(store.current(asset, video))
    return needed


def orphaned(what: str, faults: list[Fault]) -> Removal:
    """Objects that nothing names."""
    return Removal(what, faults[0].why, tuple(f.key for f in faults), sum(f.bytes for f in faults))


def apply(store: Inspected, removal: Removal) -> bool:
    """Remove what was planned, unless it is needed by now or somebody reads it; whether it was removed."""
    version = removal.version
    if version is None:
        store.remove(removal.keys)
        return True
    with store.exclusive_if_unread(version.key) as unread:
        if not unread or version.key in needed_versions(store, version.video):
            return False
        store.remove(removal.keys[:1])  # without its manifest a version counts as not there and would be written again
        if version.key in needed_versions(store, version.video):
            return False  # it came back to life this moment: its writer looks after it
        store.remove(removal.keys[1:])
    return True
