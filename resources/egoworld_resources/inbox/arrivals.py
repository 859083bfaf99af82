"""Videos that arrive: bytes copied into the store, identity recorded, duplicates named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.inbox import sidecars
from egoworld_resources.inbox.origins import FileOrigin, Origin, Refused, StillChanging, refuse_what_is_no_video
from egoworld_resources.layout import readable, video_key
from egoworld_resources.leases.locks import locked
from egoworld_resources.leases.scratch import scratch_file
from egoworld_resources.store.protocol import Store

__all__ = ["Arrival", "Arrivals", "Refused", "suffix_of"]


MOST_REFUSED = 1_000
"""Refused files of one uploader that are remembered by name; of more nothing is written down."""
MOST_KEPT = 1_000
"""Sidecars of one uploader that are kept until their videos come."""


@dataclass(frozen=True)
class Arrival:
    """What became of a file. video: its key; state "unchanged" when these bytes were already taken under this name.

    known: the file itself had been seen before, so nothing was read. Of a sidecar: "annotated" when the video is here
    that it is about, "kept" until it is.
    """

    video: str
    name: str
    state: Literal["new", "replaced", "unchanged", "duplicate", "annotated", "kept"]
    duplicate_of: str | None = None
    known: bool = False

    @property
    def to_be_made(self) -> bool:
        """Whether there is a video of its own from which something may have to be made."""
        return self.state not in ("duplicate", "kept")


class Arrivals:
    """Takes files into the store; every step can be repeated after a crash without doubling anything."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._refused: dict[str, str] | None = None
        self._kept: dict[str, str] | None = None

    def take(self, path: Path, name: str | None = None) -> Arrival:
        """Copy a file of this machine in and record it under its name (default: the file name), its sidecar first.

        Raises Refused, as ``bring`` does.
        """
        beside = path.with_name(f"{path.name}{sidecars.SUFFIX}")
        if os.path.lexists(beside):
            called = f"{name or path.name}{sidecars.SUFFIX}"
            self._bring(FileOrigin(beside), called, from_inbox=name is not None, any_kind=False)
        return self._bring(FileOrigin(path), name or path.name, from_inbox=name is not None, any_kind=True)

    def bring(self, origin: Origin, name: str) -> Arrival:
        """Copy a file in from the inbox and record it under its name there; of a sidecar take what it says.

        Raises Refused for anything that does not begin as a video does, and when it changes while it is read.
        """
        return self._bring(origin, name, from_inbox=True, any_kind=False)

    def _bring(self, origin: Origin, name: str, *, from_inbox: bool, any_kind: bool) -> Arrival:
        exact, key, name = name, video_key(name), readable(name)
        try:
            if sidecars.video_beside(exact):
                return self._said(origin, exact, key)
            return self._take(origin, name, key, any_kind=any_kind)
        except Refused as error:
            facts = {"name": name, "reason": str(error), "inbox": from_inbox, "origin": origin.where}
            seen = "" if isinstance(error, StillChanging) else origin.identity()
            if not from_inbox or self._room(key, name):
                self._store.record("refusals", key, {**facts, "seen": seen})
            raise

    def _room(self, key: str, name: str) -> bool:
        """Whether one more refused file of an uploader is remembered; the first MOST_REFUSED are."""
        if self._refused is None:
            self._refused = {key: uploader_of(facts["name"]) for key, facts in self._store.records("refusals")}
        whose = uploader_of(name)
        if key not in self._refused and sum(one == whose for one in self._refused.values()) >= MOST_REFUSED:
            return False
        self._refused[key] = whose
        return True

    def name_for(self, path: Path) -> str:
        """A name for a file, made from its path: its own, or with the folders that set it apart from another's.

        A file that comes again from the same place keeps its name, so new bytes there replace the old ones.
        """
        parts = path.absolute().parts
        for count in range(1, len(parts)):
            name = "/".join(parts[-count:])
            key = video_key(name)
            known = self._store.recorded("videos", key) or self._store.recorded("duplicates", key)
            if known is None or known["origin"] == readable(str(path.absolute())):
                return name
        return str(path)

    def known(self, origin: Origin, name: str) -> bool:
        """Whether this very file was taken before and has not changed since."""
        if sidecars.video_beside(name):
            return sidecars.known(self._store, origin, name)
        key = video_key(name)
        facts = self._store.recorded("duplicates", key) or self._store.recorded("videos", key)
        return facts is not None and facts["seen"] == origin.identity() != ""

    def refused(self, origin: Origin, name: str) -> bool:
        """Whether this very file was refused before and has not changed since."""
        facts = self._store.recorded("refusals", video_key(name))
        return facts is not None and facts["seen"] == origin.identity() != ""

    def refused_at(self) -> dict[str, str]:
        """Where refused files of the inbox are, by key."""
        refusals = self._store.records("refusals")
        return {key: facts.get("origin", "") for key, facts in refusals if facts["inbox"]}

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of refused files."""
        for key in keys:
            self._store.record("refusals", key, None)

    def forget_refusals(self, present: Iterable[str]) -> None:
        """Drop what is known of refused inbox files that are gone; present: all names of the inbox."""
        refusals = self.refused_at()
        self.forget(set(refusals).difference(map(video_key, present)) if refusals else ())

    def _said(self, origin: Origin, name: str, key: str) -> Arrival:
        """Take what a sidecar says; of an uploader whose MOST_KEPT sidecars wait for videos nothing more is kept."""
        video = video_key(sidecars.video_beside(name))
        with locked(self._store.incoming.parent / "arrivals.lock"):
            known = sidecars.known(self._store, origin, name)
            if not known and self._store.recorded("videos", video) is None:
                self._keep(video, readable(name))
            here = sidecars.take(self._store, origin, name)
        self._store.record("refusals", key, None)
        return Arrival(video, readable(name), "annotated" if here else "kept", known=known)

    def _keep(self, video: str, name: str) -> None:
        """Raise Refused when too many sidecars of an uploader wait for their videos."""
        if self._kept is None:
            self._kept = {key: uploader_of(facts["name"]) for key, facts in sidecars.without_video(self._store)}
        whose = uploader_of(name)
        if video not in self._kept and sum(one == whose for one in self._kept.values()) >= MOST_KEPT:
            raise Refused(f"{name!r}: {MOST_KEPT:,} other sidecars wait for their videos; bring the videos first")
        self._kept[video] = whose

    def _take(self, origin: Origin, name: str, key: str, *, any_kind: bool) -> Arrival:
        before = self._store.recorded("videos", key) or {}
        twin = self._store.recorded("duplicates", key)
        for holder in (before, twin or {}):
            if holder and holder["name"] != name:
                raise Refused(f"{name!r} would get the key of {holder['name']!r}, {key}; rename it")
        if (twin or before).get("seen") == origin.identity():
            same = twin["duplicate_of"] if twin else None
            return Arrival(key, name, "duplicate" if twin else "unchanged", same, known=True)
        if not any_kind:
            refuse_what_is_no_video(origin, name)
        sha256, size, seen = self._copy(origin, name)
        self._store.record("refusals", key, None)
        facts = {"name": name, "sha256": sha256, "bytes": size, "suffix": suffix_of(name), "seen": seen}
        facts["origin"] = origin.where
        with locked(self._store.incoming.parent / "arrivals.lock"):
            return self._settled(key, name, sha256, facts)

    def _settled(self, key: str, name: str, sha256: str, facts: dict[str, Any]) -> Arrival:
        """Record a file whose bytes are in the store; of equal bytes that arrive at once the first is the video."""
        before = self._store.recorded("videos", key) or {}
        owner = self._owner(sha256)
        if owner and owner != key:
            self._store.record("duplicates", key, {**facts, "duplicate_of": owner})
            return Arrival(key, name, "duplicate", owner)
        sidecars.taken_up(self._store, key, facts)
        self._store.record("owners", sha256, {"video": key})
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._store.record("videos", key, {"arrived_at": at, **before, **facts})
        self._store.record("duplicates", key, None)
        if before.get("sha256") == sha256:
            return Arrival(key, name, "unchanged")
        return Arrival(key, name, "replaced" if before else "new")

    def _owner(self, sha256: str) -> str | None:
        """The video that holds these bytes now; a video that was re-uploaded since no longer does."""
        claim = self._store.recorded("owners", sha256)
        if claim is None:
            return None
        video = self._store.recorded("videos", claim["video"])
        return claim["video"] if video and video["sha256"] == sha256 else None

    def _copy(self, origin: Origin, name: str) -> tuple[str, int, str]:
        with naming_a_full_disk(self._store.incoming), scratch_file(self._store.incoming) as (handle, temporary):
            with os.fdopen(handle, "wb", closefd=False) as target:
                sha256, size, seen = origin.copy(target)
            os.fsync(handle)
            self._store.add_source(temporary, sha256, suffix_of(name))
        return sha256, size, seen


def uploader_of(name: str) -> str:
    """Whose file it is: the first folder of its name in the inbox; empty for a file in no folder."""
    folder, between, _ = name.partition("/")
    return folder if between else ""


def suffix_of(name: str) -> str:
    """The file's suffix, lower case, when it is a harmless one; decoders guess by content anyway."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix.isascii() and suffix[1:].isalnum() and len(suffix) <= 6 else ".video"
