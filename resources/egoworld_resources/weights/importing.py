"""Take in a model that somebody delivered on a disk: every byte is compared with the manifest on its way."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    SIGNATURE,
    ModelManifest,
    Part,
    WeightsFile,
    format_of,
)
from egoworld_resources.weights.staging import OTHER_NAME, Staging, staging
from egoworld_resources.weights.verify import Unreadable, digest_of, digests_of, files_below, verify

Progress = Callable[[int, int], None]
"""Called with how many bytes are whole, and of how many."""


@dataclass(frozen=True)
class Origin:
    """Where files came from that no manifest comes with."""

    source: str
    licence: str
    revision: str = ""


def described(folder: Path, model: str, origin: Origin) -> ModelManifest:
    """The manifest of the files that are in a folder now; raises WeightsRefused for links and odd names."""
    found = files_below(folder)
    if refused := next((entry for entry in found if entry.refusal), None):
        raise WeightsRefused(f"{folder}: {refused.path!r} {refused.refusal}; a model holds plain files only")
    if not found:
        raise WeightsRefused(f"{folder} holds no file")
    try:
        digests = digests_of(folder, [entry.path for entry in found])
    except Unreadable as error:
        raise WeightsRefused(f"{folder}: a file {error}") from error
    files = [
        WeightsFile(path=entry.path, bytes=entry.bytes, sha256=digests[entry.path], format=format_of(entry.path))
        for entry in found
    ]
    part = Part(source=origin.source, revision=origin.revision, licence=origin.licence, files=files)
    return ModelManifest(model=model, parts=[part])


def import_model(
    delivery: Path,
    home: Path,
    *,
    name: str = "",
    origin: Origin | None = None,
    progress: Progress | None = None,
    exceptions: Collection[str] = (),
) -> Path:
    """Copy a model below the model home; returns its folder, which is whole whenever it is there.

    A copy that was killed goes on where it stopped. The delivery brings its manifest; without one ``origin`` and
    ``name`` are needed, and its bytes are taken as they are. What the manifest does not name is left behind.
    exceptions: sha256 of pickles that are taken.
    Raises WeightsRefused naming every file that is missing, damaged or a pickle, BadConfiguration, DiskFull, LockBusy.
    """
    manifest = manifest_of_delivery(delivery, name, origin)
    lacking = [one for one in verify(delivery, manifest, quick=True) if one.kind != "extra"]
    if lacking:
        raise WeightsRefused(f"{delivery} is not what its manifest says:\n" + "\n".join(map(str, lacking)))
    with staging(home, manifest.model, manifest.digest[:16], exceptions) as place:
        there = place.manifest_there()
        if there is None:
            return _copied(delivery, manifest, place, progress or (lambda _done, _total: None))
        if there == manifest:
            place.clear()
            return place.target
    raise WeightsRefused(f"{place.target} is there already, with other files; {OTHER_NAME}")


def manifest_of_delivery(delivery: Path, name: str, origin: Origin | None) -> ModelManifest:
    """The manifest that a delivery brings, under ``name`` if one is given; or one of its bytes as they are."""
    if os.path.lexists(delivery / MANIFEST):
        manifest = ModelManifest.read(delivery)
        return manifest.model_copy(update={"model": name}) if name else manifest
    if origin is None:
        raise WeightsRefused(
            f"{delivery} has no {MANIFEST}: say where its files are from and under which licence: --source, --licence"
        )
    return described(delivery, name or delivery.resolve().name, origin)


def signature_of(folder: Path, manifest: ModelManifest) -> bytes:
    """The signature that lies beside a manifest, if this is that manifest to the byte; else empty."""
    file = folder / SIGNATURE
    if file.is_symlink() or not file.is_file() or file.stat().st_size > 2 * LARGEST_MANIFEST:
        return b""
    same = (folder / MANIFEST).read_bytes() == manifest.text().encode()
    return file.read_bytes() if same else b""


def _copied(delivery: Path, manifest: ModelManifest, place: Staging, progress: Progress) -> Path:
    files = sorted(manifest.files(), key=lambda file: file.path)
    missing = [file for file in files if not place.has(file.path, file.bytes, file.sha256)]
    left = sum(file.bytes for file in missing)
    begun = sum(part.stat().st_size for file in missing if (part := place.part(file.path)).is_file())
    place.need_space(max(0, left - begun))
    done, damaged = manifest.bytes - left, list[str]()

    def moved(count: int) -> None:
        nonlocal done
        done += count
        progress(done, manifest.bytes)

    moved(0)
    with naming_a_full_disk(place.files):
        for file in missing:
            if reason := _copy(delivery / file.path, file, place, moved):
                damaged.append(f"damaged: {file.path}: {reason}")
    if damaged:
        raise WeightsRefused(f"{delivery} is not what its manifest says:\n" + "\n".join(damaged))
    return place.publish(manifest, signature_of(delivery, manifest))


def _copy(source: Path, file: WeightsFile, place: Staging, moved: Callable[[int], None]) -> str:
    """Copy one file over what is here of it, in one reading; why it was not kept, empty when it was."""
    part = place.part(file.path)
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666), "r+b", 0) as out:

        def write(piece: memoryview) -> None:
            here = out.read(len(piece)) or b""
            if here != piece:
                out.seek(-len(here), os.SEEK_CUR)
                write_all(out, piece)
            moved(len(piece))

        try:
            found = digest_of(source, taken=write)
        except Unreadable as error:
            return str(error)
        out.truncate()
    if found == file.sha256:
        place.keep(part, file.path)
        return ""
    part.unlink()
    return f"has sha256 {found}, the manifest says {file.sha256}"


def write_all(out: RawIOBase, piece: memoryview) -> None:
    """Write a piece to a file that has no buffer."""
    while piece:
        piece = piece[out.write(piece) or 0 :]
