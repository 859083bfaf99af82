"""A kit as a folder or as one tar file, read without unpacking anything that its manifest does not name."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from egoworld_resources.kit.receiver.manifest import LARGEST, MANIFEST, SIGNATURE, KitManifest
from egoworld_resources.kit.receiver.refused import KitRefused


@dataclass(frozen=True)
class FolderKit:
    """An unpacked kit."""

    path: Path

    def head(self) -> tuple[bytes, bytes]:
        """Manifest and signature, unchecked."""
        return _small(self.path / MANIFEST), _small(self.path / SIGNATURE)

    def files(self, manifest: KitManifest) -> Iterator[tuple[str, IO[bytes]]]:
        """Those of the manifest that are there, each open; a link is not followed."""
        for file in manifest.files:
            path = self.path / file.path
            if any(part.is_symlink() for part in (path, *list(path.parents)[: len(Path(file.path).parts) - 1])):
                raise KitRefused(f"{path} is a link; a kit holds none")
            if path.is_file():
                with path.open("rb") as content:
                    yield file.path, content


@dataclass(frozen=True)
class TarKit:
    """A kit in one uncompressed tar whose first two members are manifest and signature."""

    path: Path

    def head(self) -> tuple[bytes, bytes]:
        """Manifest and signature, unchecked."""
        found: list[bytes] = []
        for (name, size, content), wanted in zip(self._members(), (MANIFEST, SIGNATURE), strict=False):
            if name != wanted or size > LARGEST:
                raise KitRefused(f"{self.path} is not a kit: it begins with {name!r} instead of {wanted}")
            found.append(content.read())
        if len(found) != 2:
            raise KitRefused(f"{self.path} ends before its manifest and signature; copy it again")
        return found[0], found[1]

    def files(self, manifest: KitManifest) -> Iterator[tuple[str, IO[bytes]]]:
        """Every member that the manifest names, each open; raises KitRefused for any other."""
        known = manifest.by_path()
        for number, (name, size, content) in enumerate(self._members()):
            if number < 2:
                continue
            if name not in known:
                raise KitRefused(f"{self.path} holds {name!r}, which its manifest does not name; get the kit again")
            if size != known[name].bytes:
                raise KitRefused(f"{self.path}: {name} has {size} bytes, not {known[name].bytes}; get the kit again")
            yield name, content

    def _members(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        try:
            with self.path.open("rb") as raw, closing(tarfile.open(fileobj=raw, mode="r|")) as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isreg() else None
                    if content is None:
                        raise KitRefused(
                            f"{self.path} holds {member.name!r}, which is not a plain file; get the kit again"
                        )
                    yield member.name, member.size, content
        except (tarfile.TarError, EOFError) as error:
            raise KitRefused(f"{self.path} is not a complete tar file ({error}); copy it again") from error
        except OSError as error:
            raise KitRefused(f"{self.path} cannot be read: {error}") from error


def open_kit(path: Path) -> FolderKit | TarKit:
    """Raises KitRefused when there is nothing that could be a kit."""
    if path.is_dir():
        return FolderKit(path)
    if path.is_file():
        return TarKit(path)
    raise KitRefused(f"{path} does not exist; name the folder or the tar file of a kit")


def _small(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST:
            raise KitRefused(f"{file} is too large to be a kit's")
        return file.read_bytes()
    except OSError as error:
        raise KitRefused(
            f"{file} cannot be read: {error.strerror}; name the folder or the tar file of a kit"
        ) from error
