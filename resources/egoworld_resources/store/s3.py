"""Artifacts in S3: the layout of the folder store in one bucket, read through a cache of this machine.

    artifacts/<asset>/<video>/<data_version>/   files, and manifest.json, written last
    records/live/<asset>/<video>.json           the live version: its whole manifest, so one request tells it
    sources/<sha256><suffix>                    bytes of the videos
    records/<kind>/<key>.json                   small facts: arrivals, failures

Every object appears whole or not at all, and the live record only when all that it names is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from functools import partial
from hashlib import sha256 as sha
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import MANIFEST, Manifest, StoredFile
from egoworld_resources.artifacts.stored import StoredObject
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.objects import Objects, Transfer
from egoworld_resources.store.cache import Cache
from egoworld_resources.store.facts import damaged, parsed, sound_ones
from egoworld_resources.store.noting import Noting, Open
from egoworld_resources.store.s3_records import ReadAhead, Records, name

LIVE = "live"


class S3Store(Noting):
    """Artifacts, video bytes and records in the artifacts bucket. Raises StoreUnreachable, StoreRefused.

    cache: folder of this machine; bound: bytes of what may lie there unread.
    """

    def __init__(self, access: S3Access, cache: Path, bound: int, index: Open | None = None) -> None:
        self.access = access
        super().__init__(index)
        self.bucket = access.bucket("artifacts")
        self._objects = Objects(access, self.bucket)
        self._cache = Cache(cache, bound)
        place = sha(f"{access.endpoint}/{self.bucket}".encode()).hexdigest()[:12]
        self._index = cache / f"records-{place}.sqlite"
        self._records = Records(self._objects, self._index)

    @property
    def incoming(self) -> Path:
        return self._cache.incoming

    def reading(self) -> AbstractContextManager[None]:
        return self._cache.reading()

    def bulk_view(self) -> S3Store:
        """The same store for one look at much of it: fewer requests, and what it read once may be out of date."""
        other = copy(self)
        other._records = ReadAhead(self._objects, self._index)  # noqa: SLF001 a copy of our own
        return other

    def folder(self, manifest: Manifest) -> Path:
        """The artifact's files in the cache; what is not there is downloaded and checked."""

        def fetch(missing: Sequence[StoredFile], folder: Path) -> None:
            self._objects.download(transfers(folder, manifest, missing))

        return self._cache.entry(entry_name(manifest), manifest.files, fetch)

    def location(self, manifest: Artifact) -> str:
        return self._objects.url(prefix(manifest))

    def link(self, manifest: Manifest, path: str, seconds: int = 3600) -> str | None:
        from egoworld_resources.s3.buckets import presigned

        return presigned(self.access, self.bucket, f"{prefix(manifest)}/{path}", seconds)

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Upload a finished folder, then its manifest, then make it live; the folder is moved into the cache.

        Of a version that is there already only the manifest is renewed, and files that it lacks are added.
        """
        with self._changing(manifest.asset, manifest.video):
            self._put(staged, manifest)
        folder = self._cache.add(entry_name(manifest), manifest.files, staged)
        shutil.rmtree(staged)
        return folder

    def _put(self, staged: Path, manifest: Manifest) -> None:
        files = transfers(staged, manifest, manifest.files)
        manifest_key, text = f"{prefix(manifest)}/{MANIFEST}", manifest.model_dump_json(indent=2).encode()
        revived = self._complete(manifest, files)
        self._objects.put(manifest_key, text)
        self._records.write(LIVE, f"{manifest.asset}/{manifest.video}", text.decode())
        if revived and not self._complete(manifest, files):
            self._objects.put(manifest_key, text)  # gc removed the old version while it was being revived

    def _complete(self, manifest: Manifest, files: Sequence[Transfer]) -> bool:
        """Upload what a version lacks; whether its manifest was there, so that what was there could be trusted."""
        held = {stored.key: stored.bytes for stored in self._objects.list(prefix(manifest))}
        whole = f"{prefix(manifest)}/{MANIFEST}" in held
        self._objects.upload([file for file in files if not whole or held.get(file.key) != file.bytes])
        return whole

    def retire(self, asset: str, video: str) -> None:
        with self._changing(asset, video):
            self._records.write(LIVE, f"{asset}/{video}", None)

    def current(self, asset: str, video: str) -> Manifest | None:
        body = self._records.read(LIVE, f"{asset}/{video}")
        return None if body is None else self._manifest(body, name(LIVE, f"{asset}/{video}"))

    def version(self, asset: str, video: str, data_version: str) -> Manifest | None:
        key = f"artifacts/{asset}/{video}/{data_version}/{MANIFEST}"
        body = self._objects.get(key)
        return None if body is None else self._manifest(body, key)

    def _manifest(self, body: bytes, key: str) -> Manifest:
        try:
            return Manifest.model_validate_json(body)
        except ValidationError as error:
            raise damaged(self._objects.url(key), error, "to make it again") from error

    def verify(self, manifest: Manifest) -> list[str]:
        """Names what is missing or damaged, by the bytes that the server holds, not those of the cache."""
        keys = [f"{prefix(manifest)}/{file.path}" for file in manifest.files]
        faults: list[str] = []
        for key, file, found in zip(keys, manifest.files, self._objects.digests(keys), strict=True):
            if found != file.sha256:
                faults.append(f"{self._objects.url(key)} is {'damaged' if found else 'missing'}")
        return faults

    def videos(self, asset: str) -> list[str]:
        return list(self._records.keys(f"{LIVE}/{asset}"))

    def source(self, sha256: str, suffix: str) -> Path:
        """The bytes of a video in the cache. Raises DamagedArtifact when the store does not hold them."""
        file = f"{sha256}{suffix}"
        size = self._cache.size_of(f"sources/{file}", file)
        size = self._objects.size(f"sources/{file}") if size is None else size
        if size is None:
            raise DamagedArtifact(f"{self._objects.url(f'sources/{file}')} is missing; bring the video in again")

        def fetch(_missing: Sequence[StoredFile], folder: Path) -> None:
            self._objects.download([Transfer(folder / file, f"sources/{file}", size, sha256)])

        return self._cache.entry(f"sources/{file}", [StoredFile(path=file, bytes=size, sha256=sha256)], fetch) / file

    def add_source(self, file: Path, sha256: str, suffix: str) -> None:
        stored = StoredFile(path=f"{sha256}{suffix}", bytes=file.stat().st_size, sha256=sha256)
        self._objects.upload([Transfer(file, f"sources/{stored.path}", stored.bytes, sha256)])

        def move(_missing: Sequence[StoredFile], folder: Path) -> None:
            shutil.move(file, folder / stored.path)

        with self.reading():
            self._cache.entry(f"sources/{stored.path}", [stored], move)
        file.unlink(missing_ok=True)

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        text = None if value is None else json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        with self._recording(kind, key):
            self._records.write(kind, key, text)

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        body = self._records.read(kind, key)
        return None if body is None else parsed(body, self._objects.url(name(kind, key)))

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return sound_ones(
            (key, partial(parsed, body, self._objects.url(name(kind, key)))) for key, body in self._records.all(kind)
        )

    def keys(self, kind: str) -> list[str]:
        return list(self._records.keys(kind))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        return self._objects.list(prefix)

    def assets(self) -> list[str]:
        return self._objects.folders("artifacts")

    def digest(self, key: str) -> str:
        return self._objects.digest(key)

    def invalidate(self, asset: str, video: str, data_version: str) -> None:
        with self._changing(asset, video):
            live = self._records.read(LIVE, f"{asset}/{video}") or b""
            if data_version.encode() in live:
                self._records.write(LIVE, f"{asset}/{video}", None)
            self._objects.remove([f"artifacts/{asset}/{video}/{data_version}/{MANIFEST}"])

    def remove(self, keys: Sequence[str]) -> None:
        self._objects.remove(keys)

    def exclusive_if_unread(self, key: str) -> AbstractContextManager[bool]:  # noqa: ARG002
        return nullcontext(True)  # noqa: FBT003 what is read are copies in caches


def prefix(manifest: Artifact) -> str:
    """Where the objects of an artifact lie."""
    return f"artifacts/{entry_name(manifest)}"


def entry_name(manifest: Artifact) -> str:
    """An artifact's name in the cache."""
    return f"{manifest.asset}/{manifest.video}/{manifest.data_version}"


def transfers(folder: Path, manifest: Manifest, files: Sequence[StoredFile]) -> list[Transfer]:
    """Files of an artifact below a folder, each with its object."""
    return [Transfer(folder / f.path, f"{prefix(manifest)}/{f.path}", f.bytes, f.sha256) for f in files]
