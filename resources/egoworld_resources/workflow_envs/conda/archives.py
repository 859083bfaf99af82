"""The archives that locks name, kept by their sha256; none is unpacked before all its bytes were read and compared.

<cache>/archives/<sha256>/<file>   read-only. A folder filled by hand, such as from a kit, serves as well: what it
holds is compared before each use.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.conda.packages import Package
from egoworld_resources.workflow_envs.errors import Damaged, IndexSilent

LOCAL = "file"


class Archives:
    """Archives below ``folder``; a caller that fetches holds the lock of the cache."""

    def __init__(self, folder: Path, rattler: Rattler) -> None:
        self.folder = folder
        self._rattler = rattler

    def path(self, package: Package) -> Path:
        """Where the archive of a package is, or would be."""
        return self.folder / package.sha256 / package.file

    def fetched(self, packages: Sequence[Package]) -> list[Path]:
        """The archives of all packages, each checked against its sha256. Raises Damaged, IndexSilent, NoSpace."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            whole = pool.map(self._is_whole, packages)
            missing = [package for package, there in zip(packages, whole, strict=True) if not there]
        parts = {package: self.folder / f".{package.sha256}-{secrets.token_hex(4)}" for package in missing}
        try:
            self._fetch(parts)
            for package, part in parts.items():
                self._keep(package, part)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
        return [self.path(package) for package in packages]

    def _is_whole(self, package: Package) -> bool:
        file = self.path(package)
        return file.is_file() and file_digest(file) == package.sha256

    def _fetch(self, parts: dict[Package, Path]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for package, part in parts.items():
            if urlsplit(package.url).scheme == LOCAL:
                _copy(Path(url2pathname(urlsplit(package.url).path)), part)
        remote = {package.url: part for package, part in parts.items() if urlsplit(package.url).scheme != LOCAL}
        if remote:
            self._rattler.download(remote)

    def _keep(self, package: Package, part: Path) -> None:
        found = file_digest(part)
        if found != package.sha256:
            raise Damaged(
                f"{package.url} is not the file that was locked: sha256 {found} instead of {package.sha256}. Find out "
                "who changed it; nothing of it was installed",
                expected=package.sha256,
                found=found,
            )
        file = self.path(package)
        file.parent.mkdir(parents=True, exist_ok=True)
        part.chmod(0o444)
        part.replace(file)


def _copy(source: Path, target: Path) -> None:
    try:
        opened = source.open("rb")
    except OSError as error:
        raise IndexSilent(f"{source} cannot be read: {os.strerror(error.errno or 0)}") from error
    with opened, target.open("wb") as copy:
        shutil.copyfileobj(opened, copy, 1 << 20)
