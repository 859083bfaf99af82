"""The project's own files in an installation: what a kit brings, what the one before brought, what people changed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from egoworld_resources.kit.receiver.manifest import KitFile, KitManifest
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.kit.receiver.taking import Store

PREFIX = "source/"


def changed_here(target: Path, manifest: KitManifest, before: Sequence[KitManifest]) -> list[str]:
    """Files of the project that are neither as the kit has them nor as a kit before it had them."""
    old = {(file.path, file.sha256) for earlier in before for file in earlier.of_kind("source")}
    found: list[str] = []
    for file in manifest.of_kind("source"):
        place = target / file.path.removeprefix(PREFIX)
        if not place.is_file():
            continue
        digest = _digest(place)
        if digest != file.sha256 and (file.path, digest) not in old:
            found.append(file.path.removeprefix(PREFIX))
    return found


def lay_out(target: Path, store: Store, manifest: KitManifest, before: Sequence[KitManifest]) -> None:
    """Put every source file where it belongs and take away those that only a kit before had."""
    new = manifest.by_path()
    for file in (file for earlier in before for file in earlier.of_kind("source")):
        place = target / file.path.removeprefix(PREFIX)
        if file.path not in new and place.is_file() and _digest(place) == file.sha256:
            place.unlink()
    for file in manifest.of_kind("source"):
        _put(store.path(file), target / file.path.removeprefix(PREFIX), file)


def refuse_changes(changed: list[str]) -> None:
    """Raise KitRefused naming the files that would be overwritten."""
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise KitRefused(f"{shown} changed here since the last kit; keep them elsewhere, then install with --overwrite")


def _put(source: Path, place: Path, file: KitFile) -> None:
    if place.is_file() and not place.is_symlink() and _digest(place) == file.sha256:
        return  # with its old time, so that make does not rebuild what depends on it
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.kit")
    shutil.copyfile(source, fresh)
    fresh.chmod(0o755 if file.executable else 0o644)
    fresh.replace(place)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
