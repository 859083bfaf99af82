"""Where artifacts lie. A folder store: one machine, plain files.

    artifacts/<asset>/<video>/<data_version>/   files and manifest.json, never changed once whole
    artifacts/<asset>/<video>/current.json      names the live version
    sources/<sha256><suffix>                    bytes of the videos
    records/<kind>/<key>.json                   small facts: arrivals, failures
    incoming/                                   what is being written; swept when its writer is gone

Everything is written to incoming/ and renamed, so a reader sees all of a thing or nothing of it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egoworld_resources.errors import DamagedArtifact, DiskFull
from egoworld_resources.manifest import MANIFEST, Manifest, file_digest
from egoworld_resources.scratch import scratch_file, scratch_folder

CURRENT = "current.json"
FULL = {errno.ENOSPC, errno.EDQUOT}


class FolderStore:
    """Artifacts, video bytes and records below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    def folder(self, manifest: Manifest) -> Path:
        """Where an artifact's files are readable."""
        return self.root / f"artifacts/{manifest.asset}/{manifest.video}/{manifest.data_version}"

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Take a finished folder in and make it the live version; the folder is moved, the manifest written last.

        When the same contents are already there, only the manifest is renewed: contents never change under a version.
        Raises DiskFull.
        """
        final = self.folder(manifest)
        with naming_a_full_disk(self.root):
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

    def current(self, asset: str, video: str) -> Manifest | None:
        """The live version's manifest, or None. Raises DamagedArtifact when it is named but not readable."""
        pointer = self.root / f"artifacts/{asset}/{video}/{CURRENT}"
        try:
            return self.version(asset, video, json.loads(pointer.read_text(encoding="utf-8"))["data_version"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, ValidationError) as error:
            raise DamagedArtifact(
                f"{asset} of {video}: {pointer} cannot be read ({error}); remove it to make it again"
            ) from error

    def version(self, asset: str, video: str, data_version: str) -> Manifest | None:
        """The manifest of one version, live or not; None when it is not (or no longer) here."""
        path = self.root / f"artifacts/{asset}/{video}/{data_version}/{MANIFEST}"
        try:
            return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

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

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        """Write, or with None remove, a small fact. Raises DiskFull."""
        path = self.root / "records" / kind / f"{key}.json"
        if value is None:
            path.unlink(missing_ok=True)
        else:
            with naming_a_full_disk(self.root):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write_whole(path, json.dumps(value, indent=2, ensure_ascii=False))

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        """A small fact, or None."""
        try:
            return json.loads((self.root / f"records/{kind}/{key}.json").read_text(encoding="utf-8"))
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
        """All facts of a kind, in key order."""
        for path in sorted((self.root / "records" / kind).rglob("*.json")):
            yield (
                path.relative_to(self.root / "records" / kind).as_posix()[:-5],
                json.loads(path.read_text(encoding="utf-8")),
            )


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" below a folder into DiskFull, which says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"no space left in {folder} ({error.strerror}); free some, then run it again") from error
        raise


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below to the disk."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
