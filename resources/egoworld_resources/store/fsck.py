"""Looking through a whole store: what is missing, what is damaged, what nothing names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Literal

from egoworld_resources.artifacts.manifest import MANIFEST, Manifest
from egoworld_resources.artifacts.stored import StoredObject
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.store.protocol import Inspected

GRACE = timedelta(hours=1)
"""What is younger may still be being written: it is not called orphaned."""


@dataclass(frozen=True)
class Fault:
    """One object that is not as it should be. key: its path in the store; bytes: what an orphaned one takes."""

    kind: Literal["missing", "damaged", "orphaned"]
    key: str
    why: str
    bytes: int = 0


@dataclass(frozen=True)
class Version:
    """One version of an artifact as it lies in the store, and its manifest if it has one that can be read."""

    asset: str
    video: str
    data_version: str
    objects: tuple[StoredObject, ...]
    manifest: Manifest | None
    fault: str = ""

    @property
    def key(self) -> str:
        return f"artifacts/{self.asset}/{self.video}/{self.data_version}"

    @property
    def modified(self) -> datetime:
        """When the manifest was last renewed; without one the youngest of its objects."""
        own = [o.modified for o in self.objects if o.key == f"{self.key}/{MANIFEST}"]
        return max(own or [o.modified for o in self.objects])

    @property
    def bytes(self) -> int:
        return sum(stored.bytes for stored in self.objects)


def fsck(store: Inspected, quick: bool = False, now: datetime | None = None) -> Iterator[Fault]:
    """Every fault of a store. quick: sizes alone are compared, no byte is read.

    Reads object by object, so memory does not grow with what lies in the store.
    """
    now = now or datetime.now(UTC)
    for version in versions(store):
        yield from faults_of(store, version, quick, now)
    for asset in store.assets():
        for video in store.videos(asset):
            yield from live_faults(store, asset, video)
    yield from record_faults(store)
    yield from source_faults(store, quick, now)


def forget(store: Inspected, fault: Fault) -> bool:
    """Forget the artifact that a fault lies in, so that a refresh makes it again; whether there is one."""
    parts = fault.key.split("/")
    if fault.kind == "orphaned" or parts[0] != "artifacts" or len(parts) < 5:
        return False
    store.invalidate(*parts[1:4])
    return True


def versions(store: Inspected, below: str = "artifacts") -> Iterator[Version]:
    """Every version of every artifact below a prefix, whole or not."""
    stored = (o for o in store.objects(below) if o.key.count("/") > 3)
    for parts, group in groupby(stored, key=lambda o: tuple(o.key.split("/")[1:4])):
        asset, video, data_version = parts
        try:
            manifest, fault = store.version(asset, video, data_version), ""
        except DamagedArtifact as error:
            manifest, fault = None, str(error).partition("\n")[0]
        yield Version(asset, video, data_version, tuple(group), manifest, fault)


def faults_of(store: Inspected, version: Version, quick: bool, now: datetime) -> Iterator[Fault]:
    """What is wrong with one version."""
    manifest = version.manifest
    if version.fault:
        yield Fault("damaged", f"{version.key}/{MANIFEST}", version.fault)
    if manifest is None:
        if not version.fault and now - version.modified > GRACE:
            yield from (Fault("orphaned", o.key, "it has no manifest", o.bytes) for o in version.objects)
        return
    held = {stored.key: stored for stored in version.objects}
    held.pop(f"{version.key}/{MANIFEST}", None)
    for file in manifest.files:
        stored = held.pop(f"{version.key}/{file.path}", None)
        if stored is None:
            yield Fault("missing", f"{version.key}/{file.path}", "its manifest names it")
        else:
            yield from bad_bytes(store, stored, file.bytes, file.sha256, quick)
    yield from (Fault("orphaned", o.key, "its manifest does not name it", o.bytes) for o in old(held.values(), now))


def bad_bytes(store: Inspected, stored: StoredObject, size: int, sha256: str, quick: bool) -> Iterator[Fault]:
    """Whether an object holds what it should."""
    if stored.bytes != size:
        yield Fault("damaged", stored.key, f"{stored.bytes} bytes instead of {size}")
    elif not quick:
        try:
            found = store.digest(stored.key)
        except FileNotFoundError:
            yield Fault("missing", stored.key, "it went away while it was looked at")
            return
        if found != sha256:
            yield Fault("damaged", stored.key, f"sha256 {found[:12]}… instead of {sha256[:12]}…")


def live_faults(store: Inspected, asset: str, video: str) -> Iterator[Fault]:
    """Whether a live version and the versions that it was made from are there."""
    try:
        made = store.current(asset, video)
    except DamagedArtifact as error:
        yield Fault("damaged", f"live version of {asset} of {video}", str(error).partition("\n")[0])
        return
    if made is None:
        yield Fault("missing", f"live version of {asset} of {video}", "it is named as live")
        return
    named = {asset: made.data_version, **{a: v for a, v in made.inputs.items() if v and a != "source"}}
    for name, data_version in named.items():
        try:
            there = store.version(name, video, data_version) is not None
        except DamagedArtifact:
            there = True  # reported with the version itself
        if not there:
            why = "it is live" if name == asset else f"the live {asset} of {video} was made from it"
            yield Fault("missing", f"artifacts/{name}/{video}/{data_version}/{MANIFEST}", why)


def record_faults(store: Inspected) -> Iterator[Fault]:
    """Small facts that cannot be read."""
    for key in store.keys(""):
        kind, _, rest = key.partition("/")
        try:
            store.recorded(kind, rest)
        except DamagedArtifact as error:
            yield Fault("damaged", f"records/{key}.json", str(error).partition("\n")[0])


def source_faults(store: Inspected, quick: bool, now: datetime) -> Iterator[Fault]:
    """Whether the bytes of every known video are there and sound, and which bytes are no video's."""
    held = {stored.key: stored for stored in store.objects("sources")}
    for video, facts in store.records("videos"):
        key = f"sources/{facts['sha256']}{facts['suffix']}"
        stored = held.pop(key, None)
        if stored is None:
            yield Fault("missing", key, f"video {video}, {facts['name']!r}")
        else:
            yield from bad_bytes(store, stored, facts["bytes"], facts["sha256"], quick)
    for stored in old(held.values(), now):
        yield Fault("orphaned", stored.key, "no video has these bytes (any more)", stored.bytes)


def old(objects: Iterable[StoredObject], now: datetime) -> Iterator[StoredObject]:
    """Those that nobody can be about to name."""
    return (stored for stored in objects if now - stored.modified > GRACE)
