"""Weights in the bucket of that name: each file once, under its sha256, read through this machine's cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from egoworld_resources.artifacts.manifest import StoredFile, file_digest
from egoworld_resources.environments.declaration import Weights
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.objects import Objects, Transfer
from egoworld_resources.store.cache import Cache


class WeightsBucket:
    """What is fetched stays in the cache at least as long as this object lives; beyond that the bound holds.

    cache: folder of this machine; bound: bytes of unread files that may stay. Raises StoreUnreachable, StoreRefused.
    """

    def __init__(self, access: S3Access, cache: Path, bound: int) -> None:
        self.objects = Objects(access, access.bucket("weights"))
        self._cache = Cache(cache, bound)

    def where(self, sha256: str) -> str:
        """An object's name for people."""
        return self.objects.url(sha256)

    def holds(self, sha256: str) -> bool:
        """Whether the bucket has these weights; their bytes are not read."""
        return self.objects.size(sha256) is not None

    def fetch(self, weights: Weights) -> Path | None:
        """The file on this machine under its own name, its bytes checked; None when the bucket does not have it.

        Raises DamagedArtifact when the bucket holds other bytes, DiskFull.
        """
        name, sha256 = PurePosixPath(weights.path).name, weights.sha256
        entry = f"weights/{sha256}/{name}"
        size = self._cache.size_of(entry, name)
        size = self.objects.size(sha256) if size is None else size
        if size is None:
            return None
        file = StoredFile(path=name, bytes=size, sha256=sha256)

        def download(_missing: Sequence[StoredFile], folder: Path) -> None:
            self.objects.download([Transfer(folder / name, sha256, size, sha256)])

        return self._cache.entry(entry, [file], download) / name

    def push(self, files: Sequence[Path]) -> dict[Path, str]:
        """Upload files; the sha256 of each. What is there already is not sent again. Raises BadConfiguration."""
        strange = [str(file) for file in files if not file.is_file()]
        if strange:
            raise BadConfiguration(f"no file at {', '.join(strange)}; name the files of the weights")
        digests = {file: file_digest(file) for file in files}
        self.objects.upload([Transfer(f, digests[f], f.stat().st_size, digests[f]) for f in files])
        return digests
