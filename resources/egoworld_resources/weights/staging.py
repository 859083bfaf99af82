"""A model on its way in: its files lie beside the others until all are whole, then it gets its name at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.disk import naming_a_full_disk, sync, sync_tree
from egoworld_resources.errors import DiskFull, LockBusy
from egoworld_resources.leases.named import Leases
from egoworld_resources.leases.scratch import remove_tree
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.manifest import MANIFEST, SIGNATURE, ModelManifest, WeightsFile
from egoworld_resources.weights.pickles import pickles
from egoworld_resources.weights.verify import Unreadable, digest_of, files_below

INCOMING = ".incoming"
"""Folder below the model home of what is not whole yet; no model may have this name."""
LOCK = "incoming.lock"
SPARE = 64 * 2**20
"""Bytes that stay free beyond what a model takes: folders, the manifest, what others write meanwhile."""


class Staging:
    """The files of a model that are already here. They stay when their process dies, to be gone on with.

    key: tells what is taken in from everything else of the same name: 16 hex digits. exceptions: sha256 of the pickles
    that are taken.
    """

    def __init__(self, home: Path, model: str, key: str, exceptions: Collection[str]) -> None:
        self.exceptions = exceptions
        self.home = home
        self.model = model
        self.target = home / model
        self.begun = home / INCOMING / f"{model}-{key}"
        self.files = self.begun / "files"
        self.parts = self.begun / "parts"

    def has(self, path: str, size: int, sha256: str) -> bool:
        """Whether this file is here with its digest; one that is damaged is removed."""
        file = self.files / path
        try:
            if file.stat(follow_symlinks=False).st_size == size and digest_of(file) == sha256:
                return True
        except (FileNotFoundError, Unreadable):
            pass
        file.unlink(missing_ok=True)
        return False

    def part(self, path: str) -> Path:
        """Where the bytes of a file gather until it is whole."""
        self.parts.mkdir(parents=True, exist_ok=True)
        return self.parts / digest(path)[:32]

    def keep(self, part: Path, path: str) -> None:
        """Give a part, whose digest was found right, its name; it is on the disk before."""
        sync(part)
        file = self.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        part.rename(file)

    def need_space(self, missing: int) -> None:
        """Raise DiskFull unless there is room for this many more bytes."""
        self.files.mkdir(parents=True, exist_ok=True)
        place = os.statvfs(self.files)
        free = place.f_bavail * place.f_frsize
        if free < missing + SPARE:
            raise DiskFull(
                f"{self.model} needs {missing / 1e9:,.1f} GB more in {self.home}, {free / 1e9:,.1f} GB are free; "
                "free some, or set EGOWORLD_MODEL_HOME to a larger disk",
                self.home,
            )

    def publish(self, manifest: ModelManifest, signature: bytes = b"") -> Path:
        """Write the manifest and give the folder its name. Every file was kept before; raises WeightsRefused if not.

        signature: of this manifest, which comes with it; empty when none does.
        """
        wanted = {file.path for file in manifest.files()}
        here = {entry.path for entry in files_below(self.files)}
        for path in here - wanted:
            (self.files / path).unlink()
        (self.files / SIGNATURE).unlink(missing_ok=True)
        if lacking := wanted - here:
            raise WeightsRefused(f"{self.model}: {min(lacking)} is gone from {self.files}; run it again")
        self.refuse_pickles(self.files, manifest.files())
        with naming_a_full_disk(self.files):
            (self.files / MANIFEST).write_text(manifest.text(), encoding="utf-8")
            if signature:
                (self.files / SIGNATURE).write_bytes(signature)
            sync_tree(self.files)
        self.files.rename(self.target)
        sync(self.home)
        self.clear()
        return self.target

    def refuse_pickles(self, folder: Path, files: Iterable[WeightsFile]) -> None:
        """Raise WeightsRefused naming each file that loads as a pickle and is not excepted."""
        if found := pickles(folder, files, self.exceptions):
            raise WeightsRefused(f"{self.model} is not taken in:\n" + "\n".join(map(str, found)))

    def rewrite(self, manifest: ModelManifest) -> None:
        """Put another manifest into the folder that has its name already; the signature of the old one goes."""
        (self.target / SIGNATURE).unlink(missing_ok=True)
        self.put(MANIFEST, manifest.text().encode())

    def put(self, name: str, data: bytes) -> None:
        """Write a file of ours into the folder that has its name already, at once."""
        self.begun.mkdir(parents=True, exist_ok=True)
        new = self.begun / name
        with naming_a_full_disk(self.begun):
            new.write_bytes(data)
            sync(new)
        new.rename(self.target / name)
        sync(self.target)
        self.clear()

    def clear(self) -> None:
        """Remove what was begun."""
        remove_tree(self.begun)

    def manifest_there(self) -> ModelManifest | None:
        """The manifest of the model of this name that is there already, if any; raises WeightsRefused without one."""
        if not os.path.lexists(self.target):
            return None
        if (self.target / MANIFEST).is_file():
            return ModelManifest.read(self.target)
        raise WeightsRefused(f"{self.target} is there already, and has no {MANIFEST}; {OTHER_NAME}")


OTHER_NAME = "move it away, or take this one in under another name: --name"


@contextmanager
def staging(home: Path, model: str, key: str, exceptions: Collection[str] = ()) -> Iterator[Staging]:
    """The staging of a model that nobody else takes in now; raises LockBusy when somebody does."""
    (home / INCOMING).mkdir(parents=True, exist_ok=True)
    with Leases(home / INCOMING / LOCK) as leases:
        if not leases.try_alone(model):
            raise LockBusy(f"{model} is taken in by another process already; wait for it")
        yield Staging(home, model, key, exceptions)


def unfinished(home: Path) -> list[Path]:
    """Folders of models that were begun and are not whole."""
    with suppress(FileNotFoundError):
        return sorted(entry for entry in (home / INCOMING).iterdir() if entry.is_dir())
    return []
