"""Copying a kit's files into an installation, each checked against the signed manifest; nothing of it is run here."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from egoworld_resources.errors import DiskFull
from egoworld_resources.kit.receiver.manifest import KitFile, KitManifest
from egoworld_resources.kit.receiver.opening import FolderKit, TarKit
from egoworld_resources.kit.receiver.refused import KitRefused

MARGIN = 256 * 2**20
"""Bytes that stay free beside what a kit needs: the sample video and its artifacts, logs."""
BLOCK = 2**20


class Store:
    """The files of the installed kit below ``folder``: what a delta rests on, and what envs are made again from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, file: KitFile) -> Path:
        return self.folder / file.path

    def whole(self, files: list[KitFile]) -> set[str]:
        """Paths of those that are here with the right bytes; every byte is read."""
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            return {file.path for file, well in zip(files, pool.map(self._is_whole, files), strict=True) if well}

    def keep_only(self, manifest: KitManifest) -> None:
        """Remove what the manifest does not name."""
        known = manifest.by_path()
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(self.folder)) not in known:
                path.unlink()

    def _is_whole(self, file: KitFile) -> bool:
        path = self.path(file)
        if path.is_symlink() or not path.is_file() or path.stat().st_size != file.bytes:
            return False
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256


def take(kit: FolderKit | TarKit, manifest: KitManifest, store: Store, say: Callable[[str], None]) -> None:
    """Bring every file of ``manifest`` into ``store``, from the kit or from the kit before it.

    What an interrupted take left is used again. Raises KitRefused naming what is damaged or missing, DiskFull before
    anything is written.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    here = store.whole(list(manifest.files))
    _check_space(manifest, here, store.folder)
    if here:
        say(f"{len(here)} of {len(manifest.files)} files are here already")
    known = manifest.by_path()
    for path, content in kit.files(manifest):
        if path not in here:
            _copy(content, known[path], store.path(known[path]), str(kit.path))
            here.add(path)
    missing = [file for file in manifest.files if file.path not in here]
    if missing:
        raise KitRefused(_lacking(missing, manifest, kit.path))


def _copy(content: IO[bytes], file: KitFile, target: Path, kit: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as copy:
            while block := content.read(BLOCK):
                size += len(block)
                if size > file.bytes:
                    break
                digest.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        if size != file.bytes or digest.hexdigest() != file.sha256:
            raise KitRefused(
                f"{file.path} in {kit} is damaged: sha256 or size differs from the manifest; copy the kit again"
            )
        part.chmod(0o755 if file.executable else 0o644)
        part.replace(target)
    except tarfile.TarError as error:
        raise KitRefused(f"{kit} ends inside {file.path} ({error}); copy it again") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space is left for {file.path} in {target.parent}; make room, then again") from error
        raise KitRefused(f"{file.path} cannot be taken out of {kit}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _check_space(manifest: KitManifest, here: set[str], folder: Path) -> None:
    copied = sum(file.bytes for file in manifest.files if file.path not in here)
    unpacked = sum(file.unpacked for file in manifest.files if file.path not in here)
    free, needed = shutil.disk_usage(folder).free, copied + unpacked + MARGIN
    if copied and needed > free:
        raise DiskFull(
            f"{folder} has {free / 1e9:.1f} GB free and the kit needs {needed / 1e9:.1f} GB there "
            f"({copied / 1e9:.1f} GB of files, {unpacked / 1e9:.1f} GB when they are unpacked); nothing was installed"
        )


def _lacking(missing: list[KitFile], manifest: KitManifest, kit: Path) -> str:
    shown = ", ".join(file.path for file in missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    if manifest.previous:
        return (
            f"{kit} holds only what changed since the kit {manifest.previous[:12]}, and of that one {shown} "
            "is not here; install that kit first, or ask for a whole one"
        )
    return f"{kit} lacks {shown}; copy the kit again"
