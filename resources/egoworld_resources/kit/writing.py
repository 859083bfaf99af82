"""Writing a kit: a folder or one tar, whole under its name or not there."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.kit.pieces import Piece
from egoworld_resources.kit.receiver.manifest import MANIFEST, SIGNATURE

TAR = ".tar"


def check_target(target: Path) -> None:
    """Raise BadConfiguration when something is there: a kit is never written over."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise BadConfiguration(f"{target} is there already; name another folder or file, or remove it")


def write(target: Path, manifest: bytes, signature: bytes, pieces: Sequence[Piece]) -> int:
    """Write the kit to a folder, or to a tar when ``target`` ends in .tar; returns its bytes."""
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.part")
    if fresh.is_dir():
        shutil.rmtree(fresh)
    fresh.unlink(missing_ok=True)
    head = [(MANIFEST, manifest), (SIGNATURE, signature)]
    if target.suffix == TAR:
        _write_tar(fresh, head, pieces)
    else:
        _write_folder(fresh, head, pieces)
        if target.is_dir():
            target.rmdir()
    fresh.replace(target)
    if target.is_file():
        return target.stat().st_size
    return len(manifest) + len(signature) + sum(piece.file.bytes for piece in pieces)


def _write_folder(folder: Path, head: Sequence[tuple[str, bytes]], pieces: Sequence[Piece]) -> None:
    folder.mkdir()
    for name, content in head:
        (folder / name).write_bytes(content)
    for piece in pieces:
        place = folder / piece.file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(piece.content, bytes):
            place.write_bytes(piece.content)
            place.chmod(0o755 if piece.file.executable else 0o644)
        elif piece.file.kind in ("wheel", "conda", "weights"):
            _link(piece.content, place)
        else:
            shutil.copyfile(piece.content, place)
            place.chmod(0o755 if piece.file.executable else 0o644)


def _link(source: Path, place: Path) -> None:
    """Large files that nobody writes to share their bytes where the partition allows it."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def _write_tar(file: Path, head: Sequence[tuple[str, bytes]], pieces: Sequence[Piece]) -> None:
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in head:
            _add(archive, name, content, executable=False)
        for piece in pieces:
            _add(archive, piece.file.path, piece.content, executable=piece.file.executable)


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes, *, executable: bool) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = 0o755 if executable else 0o644, int(time.time())
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        return
    member.size = content.stat().st_size
    with content.open("rb") as opened:
        archive.addfile(member, opened)
