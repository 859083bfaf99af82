"""Files of a remote store on this machine: downloaded once, linked from one pool, bounded in size, never half there.

    entries/<name>/files/   what was asked for: read-only hardlinks
    files/<sha256>          the bytes, once, however many entries link to them
    incoming/               what is being fetched; swept when its owner is gone
    leases                  a lock file: one byte for each entry, held shared while somebody reads the entry

The entries that were not read for the longest time make room for new ones. One that is being read stays, so the
bound can be passed by what is in use at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from egoworld_resources.artifacts.manifest import StoredFile, file_digest
from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.leases.named import Leases
from egoworld_resources.leases.scratch import scratch_folder

Fetch = Callable[[Sequence[StoredFile], Path], None]
"""Writes some files of an entry below a folder, checked."""

BOOT = Path("/proc/sys/kernel/random/boot_id")
MARK = "boot"
"""Names the system start in which an entry's bytes were last checked: after a power cut files may lack some."""
SLACK = 64
"""Each process measures the pool again when it added 1/SLACK of the bound to it, and may pass the bound by that."""


class Cache:
    """Entries of files below one folder, for all threads and processes of this machine.

    root: on one filesystem with what is added by ``add``. bound: bytes of the pool.
    """

    def __init__(self, root: Path, bound: int) -> None:
        self.root = root
        self.bound = bound
        root.mkdir(parents=True, exist_ok=True)
        self._leases = Leases(root / "leases")
        self._scope: ContextVar[Leases | None] = ContextVar("scope", default=None)
        self._added = bound

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is handed out inside is held until the end; outside of any, as long as this object lives."""
        with Leases(self.root / "leases") as leases:
            token = self._scope.set(leases)
            try:
                yield
            finally:
                self._scope.reset(token)

    def entry(self, name: str, files: Sequence[StoredFile], fetch: Fetch) -> Path:
        """The folder with an entry's files, held for reading; what is not here is fetched, by one process for all."""
        held = self._scope.get() or self._leases
        entry = self.root / "entries" / name.replace("/", "~")
        while True:
            held.hold(entry.name)
            if whole(entry, files):
                os.utime(entry)
                return entry / "files"
            held.release(entry.name)
            with Leases(self.root / "leases") as filling, naming_a_full_disk(self.root):
                filling.hold_alone(f"filling {entry.name}")
                if not whole(entry, files):
                    self._fill(entry, files, fetch)

    def add(self, name: str, files: Sequence[StoredFile], source: Path) -> Path:
        """An entry made of finished files, which are moved from ``source``; held for reading."""

        def move(missing: Sequence[StoredFile], folder: Path) -> None:
            for file in missing:
                shutil.move(source / file.path, folder / file.path)

        return self.entry(name, files, move)

    def size_of(self, name: str, path: str) -> int | None:
        """Bytes of one file of an entry, or None when it is not here now."""
        try:
            return (self.root / "entries" / name.replace("/", "~") / "files" / path).stat().st_size
        except FileNotFoundError:
            return None

    def _pooled(self, sha256: str) -> Path:
        return self.root / "files" / sha256[:2] / sha256

    def _fill(self, entry: Path, files: Sequence[StoredFile], fetch: Fetch) -> None:
        size = sum(file.bytes for file in files)
        self._make_room(size)
        with scratch_folder(self.incoming, "entry") as scratch:
            new = scratch / "entry"
            for folder in {(new / "files" / file.path).parent for file in files} | {new / "files"}:
                folder.mkdir(parents=True, exist_ok=True)
            missing = [file for file in files if not self._link(file, new / "files")]
            fetch(missing, new / "files")
            for file in missing:
                path, pooled = new / "files" / file.path, self._pooled(file.sha256)
                path.chmod(0o444)
                pooled.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    os.link(path, pooled)
            (new / MARK).write_text(BOOT.read_text())
            entry.parent.mkdir(exist_ok=True)
            if entry.exists():
                entry.rename(scratch / "broken")
            new.rename(entry)
        self._added += size

    def _link(self, file: StoredFile, folder: Path) -> bool:
        """Link a file of an entry to the pool, if its bytes are there and sound."""
        pooled, target = self._pooled(file.sha256), folder / file.path
        try:
            os.link(pooled, target)
        except FileNotFoundError:
            return False
        if target.stat().st_size == file.bytes and file_digest(target) == file.sha256:
            return True
        target.unlink()
        pooled.unlink(missing_ok=True)
        return False

    def _make_room(self, incoming: int) -> None:
        """Remove the longest unread entries until the new bytes fit below the bound."""
        if self._added + incoming < self.bound // SLACK:
            return
        self._added = 0
        (self.root / "entries").mkdir(exist_ok=True)
        excess = self.size() + incoming - self.bound
        for entry in sorted((self.root / "entries").iterdir(), key=last_read):
            if excess <= 0:
                break
            excess -= self._let_go(entry)
        self._prune()

    def _let_go(self, entry: Path) -> int:
        """Remove an entry that nobody reads; the bytes of the pool that no other entry links to."""
        with Leases(self.root / "leases") as leases:
            if not leases.try_alone(entry.name):
                return 0
            with scratch_folder(self.incoming, "gone") as gone:
                try:
                    entry.rename(gone / "entry")
                except FileNotFoundError:
                    return 0
                facts = [path.stat() for path in (gone / "entry" / "files").rglob("*") if path.is_file()]
                return sum(fact.st_size for fact in facts if fact.st_nlink <= 2)

    def _prune(self) -> None:
        """Remove the files of the pool that no entry links to."""
        for path in (self.root / "files").glob("*/*"):
            with suppress(FileNotFoundError):
                if path.stat().st_nlink == 1:
                    path.unlink()

    def size(self) -> int:
        """Bytes of the pool."""
        total = 0
        for path in (self.root / "files").glob("*/*"):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


def whole(entry: Path, files: Sequence[StoredFile]) -> bool:
    """Whether an entry is here with every file. Since the system started its bytes were read and checked once."""
    try:
        checked = (entry / MARK).read_text()
        if any((entry / "files" / file.path).stat().st_size != file.bytes for file in files):
            return False
        if checked != BOOT.read_text():
            if any(file_digest(entry / "files" / file.path) != file.sha256 for file in files):
                return False
            (entry / MARK).write_text(BOOT.read_text())
    except OSError:
        return False
    return True


def last_read(entry: Path) -> float:
    """When an entry was last handed out; those that are gone come first."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0
