"""Where artifacts lie: what every store does, and the folder store (one machine, plain files).

    artifacts/<asset>/<video>/<data_version>/   files and manifest.json, never changed once whole
    artifacts/<asset>/<video>/current.json      names the live version
    sources/<sha256><suffix>                    bytes of the videos
    records/<kind>/<key>.json                   small facts: arrivals, failures
    incoming/                                   what is being written; swept when its writer is gone
    leases                                      a lock file: one byte for each version, held while somebody reads it

Everything is written to incoming/ and renamed, so a reader sees all of a thing or nothing of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import MANIFEST, Manifest, file_digest
from egoworld_resources.artifacts.stored import StoredObject
from egoworld_resources.disk import naming_a_full_disk, sync_tree
from egoworld_resources.leases.named import Leases
from egoworld_resources.leases.scratch import scratch_file, scratch_folder
from egoworld_resources.store.facts import damaged, parsed, sound_ones
from egoworld_resources.store.noting import Noting, Open
from egoworld_resources.store.protocol import Store

CURRENT = "current.json"


class FolderStore(Noting):
    """Artifacts, video bytes and records below one folder."""

    def __init__(self, root: Path, index: Open | None = None) -> None:
        self.root = root
        super().__init__(index)
        self._scope: ContextVar[Leases | None] = ContextVar("scope", default=None)

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    def folder(self, manifest: Manifest) -> Path:
        """Where an artifact's files are readable; held against gc until the end of the ``reading`` block around it."""
        key = f"artifacts/{manifest.asset}/{manifest.video}/{manifest.data_version}"
        held = self._scope.get()
        if held:
            held.hold(key)
        return self.root / key

    def location(self, manifest: Artifact) -> str:
        return str(self.root / "artifacts" / manifest.asset / manifest.video / manifest.data_version)

    def link(self, manifest: Manifest, path: str, seconds: int = 3600) -> str | None:  # noqa: ARG002
        return None

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._leases() as leases:
            token = self._scope.set(leases)
            try:
                yield
            finally:
                self._scope.reset(token)

    @contextmanager
    def exclusive_if_unread(self, key: str) -> Iterator[bool]:
        with self._leases() as leases:
            yield leases.try_alone(key)

    def _leases(self) -> Leases:
        self.root.mkdir(parents=True, exist_ok=True)
        return Leases(self.root / "leases")

    def bulk_view(self) -> Store:
        return self

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Take a finished folder in and make it the live version; the folder is moved, the manifest written last.

        When the same contents are already there, only the manifest is renewed: contents never change under a version.
        Raises DiskFull.
        """
        final = self.folder(manifest)
        with self._changing(manifest.asset, manifest.video), naming_a_full_disk(self.root):
            final.parent.mkdir(parents=True, exist_ok=True)
            if not (final / MANIFEST).is_file():
                shutil.rmtree(final, ignore_errors=True)
                with scratch_folder(self.incoming, manifest.asset) as incoming:
                    shutil.move(staged, incoming / "files")
                    sync_tree(incoming / "files")
                    (incoming / "files").rename(final)
            else:
                shutil.rmtree(staged)
            self._write_whole(final / MANIFEST, manifest.model_dump_json(indent=2))
            self._write_whole(final.parent / CURRENT, json.dumps({"data_version": manifest.data_version}))
        return final

    def retire(self, asset: str, video: str) -> None:
        with self._changing(asset, video):
            (self.root / "artifacts" / asset / video / CURRENT).unlink(missing_ok=True)

    def current(self, asset: str, video: str) -> Manifest | None:
        """The live version's manifest, or None. Raises DamagedArtifact when it is named but not readable."""
        pointer = f"{self.root}/artifacts/{asset}/{video}/{CURRENT}"
        try:
            live = str(json.loads(_read(pointer))["data_version"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(f"{asset} of {video}: {pointer}", error, "to make it again") from error
        return self.version(asset, video, live)

    def version(self, asset: str, video: str, data_version: str) -> Manifest | None:
        """The manifest of one version, live or not; None when it is not (or no longer) here. Raises DamagedArtifact."""
        file = f"{self.root}/artifacts/{asset}/{video}/{data_version}/{MANIFEST}"
        try:
            return Manifest.model_validate_json(_read(file))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise damaged(f"{asset} of {video}: {file}", error, "to make it again") from error

    def verify(self, manifest: Manifest) -> list[str]:
        """Names what is missing or damaged in an artifact; empty when every byte is as the manifest says."""
        folder = self.folder(manifest)
        faults: list[str] = []
        for file in manifest.files:
            path = folder / file.path
            if not path.is_file():
                faults.append(f"{path} is missing")
            elif path.stat().st_size != file.bytes or file_digest(path) != file.sha256:
                faults.append(f"{path} is damaged")
        return faults

    def videos(self, asset: str) -> list[str]:
        """Videos that have a live version of an asset, in name order."""
        return sorted(p.parent.name for p in (self.root / "artifacts" / asset).glob(f"*/{CURRENT}"))

    def source(self, sha256: str, suffix: str) -> Path:
        """Where the bytes of a video lie."""
        return self.root / "sources" / f"{sha256}{suffix}"

    def add_source(self, file: Path, sha256: str, suffix: str) -> None:
        target = self.source(sha256, suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(0o444)
        file.replace(target)

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        """Write, or with None remove, a small fact. Raises DiskFull."""
        path = self.root / "records" / kind / f"{key}.json"
        if value is None and not path.exists():
            return
        with self._recording(kind, key), naming_a_full_disk(self.root):
            if value is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write_whole(path, json.dumps(value, indent=2, ensure_ascii=False))

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        """A small fact, or None. Raises DamagedArtifact."""
        file = f"{self.root}/records/{kind}/{key}.json"
        try:
            return parsed(_read(file), file)
        except FileNotFoundError:
            return None

    def _write_whole(self, path: Path, text: str) -> None:
        """Write a file so that it is there whole or not at all, also after a power cut."""
        with scratch_file(self.incoming) as (descriptor, name):
            with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(text + "\n")
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
            name.replace(path)

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """All facts of a kind, in key order; a damaged one is named in the log and left out."""
        return sound_ones((key, partial(self.recorded, kind, key)) for key in self.keys(kind))

    def keys(self, kind: str) -> list[str]:
        top = f"{self.root}/records/{kind}".rstrip("/")
        found = [
            f"{folder}/{name}"[len(top) + 1 :].split("/")
            for folder, _, names in os.walk(top)
            for name in names
            if name.endswith(".json")
        ]
        return ["/".join(parts)[:-5] for parts in sorted(found)]

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        for folder, folders, files in os.walk(self.root / prefix):
            folders.sort()
            for path in (Path(folder, name) for name in sorted(files)):
                with suppress(FileNotFoundError):
                    facts = path.stat()
                    modified = datetime.fromtimestamp(facts.st_mtime, UTC)
                    yield StoredObject(path.relative_to(self.root).as_posix(), facts.st_size, modified)

    def assets(self) -> list[str]:
        return sorted(path.name for path in (self.root / "artifacts").glob("*"))

    def digest(self, key: str) -> str:
        return file_digest(self.root / key)

    def invalidate(self, asset: str, video: str, data_version: str) -> None:
        folder = self.root / "artifacts" / asset / video
        with self._changing(asset, video):
            with suppress(FileNotFoundError):
                if data_version in (folder / CURRENT).read_text(encoding="utf-8", errors="replace"):
                    (folder / CURRENT).unlink()
            (folder / data_version / MANIFEST).unlink(missing_ok=True)

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            path = self.root / key
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or gone already
                for folder in path.parents[: len(Path(key).parents) - 4]:  # never above a version's own folder
                    folder.rmdir()


def _read(path: str) -> bytes:
    """Bytes of a small file. A Path costs more than the file, and a status of 10,000 videos reads 300,000 of them."""
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()
