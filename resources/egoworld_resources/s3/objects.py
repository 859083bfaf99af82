"""The bytes of one bucket: many objects at once, big ones in parts, every byte checked against its sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.artifacts.stored import StoredObject
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.s3.access import S3Access, named_errors

if TYPE_CHECKING:
    from obstore.store import S3Config

PART = 8 << 20
"""Bytes of one part of a big object, up and down."""
PARTS = 9_000
"""Parts of an upload at most; S3 allows 10,000."""
AT_ONCE = 16
BIG_AT_ONCE = 4
PAGE = 1_000


@dataclass(frozen=True)
class Transfer:
    """One file on this machine and its object."""

    path: Path
    key: str
    bytes: int
    sha256: str


class Objects:
    """Objects of one bucket. Raises StoreRefused, StoreUnreachable; a missing object is None or FileNotFoundError."""

    def __init__(self, access: S3Access, bucket: str) -> None:
        self.bucket = bucket
        config: S3Config = {
            "endpoint": access.endpoint,
            "region": access.region,
            "access_key_id": access.access_key.get_secret_value(),
            "secret_access_key": access.secret_key.get_secret_value(),
            "virtual_hosted_style_request": False,
            "checksum_algorithm": "SHA256",
        }
        if access.session_token:
            config["session_token"] = access.session_token.get_secret_value()
        self._client = S3Store(
            bucket,
            config=config,
            client_options={"allow_http": access.endpoint.startswith("http://"), "timeout": "120s"},
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=60)},
        )
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="s3")
        self._big = ThreadPoolExecutor(BIG_AT_ONCE, thread_name_prefix="s3-big")

    def url(self, key: str) -> str:
        """An object's name for people."""
        return f"s3://{self.bucket}/{key}"

    def get(self, key: str) -> bytes | None:
        """A small object, or None."""
        try:
            with named_errors(self.url(key)):
                return obstore.get(self._client, key).bytes().to_bytes()
        except FileNotFoundError:
            return None

    def get_part(self, key: str, start: int, length: int) -> bytes:
        """Some bytes of an object; raises FileNotFoundError when there is none."""
        with named_errors(self.url(key)):
            return obstore.get_range(self._client, key, start=start, length=length).to_bytes()

    def get_many(self, keys: Iterable[str]) -> Iterator[bytes | None]:
        """Small objects in the order of their keys, many requests at once."""
        return self._pool.map(self.get, keys)

    def put(self, key: str, data: bytes, create: bool = False) -> bool:
        """Write a small object whole; with ``create`` only if there is none (If-None-Match). Whether it was written."""
        with named_errors(self.url(key)):
            try:
                obstore.put(self._client, key, data, mode="create" if create else "overwrite", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below a folder-like prefix, page by page, in the order of the keys."""
        with named_errors(self.url(prefix)):
            for page in obstore.list(self._client, prefix, chunk_size=PAGE):
                for entry in page:
                    yield StoredObject(entry["path"], entry["size"], entry["last_modified"], entry["e_tag"] or "")

    def folders(self, prefix: str) -> list[str]:
        """Names directly below a prefix that have objects below them."""
        with named_errors(self.url(prefix)):
            found = obstore.list_with_delimiter(self._client, prefix)["common_prefixes"]
        return [path.rpartition("/")[2] for path in found]

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there count as removed."""
        for start in range(0, len(keys), PAGE):
            try:
                with named_errors(self.url(keys[start])):
                    obstore.delete(self._client, keys[start : start + PAGE])
            except FileNotFoundError:
                continue

    def digest(self, key: str) -> str:
        """SHA-256 of the bytes that the server holds."""
        sha256 = hashlib.sha256()
        with named_errors(self.url(key)):
            for block in obstore.get(self._client, key).stream(min_chunk_size=PART):
                sha256.update(block)
        return sha256.hexdigest()

    def digests(self, keys: Sequence[str]) -> Iterator[str | None]:
        """The same of many objects, in the order of their keys; None for one that is missing."""

        def found(key: str) -> str | None:
            try:
                return self.digest(key)
            except FileNotFoundError:
                return None

        return self._big.map(found, keys)

    def upload(self, files: Sequence[Transfer]) -> None:
        """Write files, several at once. Raises DamagedArtifact when one is not what it should be: it is not written.

        What is there already is left as it is when it has the right digest, and else replaced as a whole.
        """
        small = [self._pool.submit(self._upload_small, f) for f in files if f.bytes <= PART]
        big = [self._big.submit(self._upload_big, f) for f in files if f.bytes > PART]
        finish([*small, *big])

    def _upload_small(self, file: Transfer) -> None:
        data = file.path.read_bytes()
        check(file, hashlib.sha256(data).hexdigest(), str(file.path))
        if not self.put(file.key, data, create=True) and self.digest(file.key) != file.sha256:
            self.put(file.key, data)

    def _upload_big(self, file: Transfer) -> None:
        if self.size(file.key) == file.bytes and self.digest(file.key) == file.sha256:
            return
        self.put_parts(file)

    def put_parts(self, file: Transfer) -> None:
        """Write a big file in parts. Raises DamagedArtifact, and nothing is written, when it has another digest."""
        part = max(PART, -(-file.bytes // PARTS))
        with named_errors(self.url(file.key)):
            obstore.put(self._client, file.key, checked_parts(file, part), chunk_size=part, max_concurrency=4)

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None."""
        try:
            with named_errors(self.url(key)):
                return obstore.head(self._client, key)["size"]
        except FileNotFoundError:
            return None

    def download(self, files: Sequence[Transfer]) -> None:
        """Read objects into new files whose folders exist. Raises DamagedArtifact for a missing or damaged one."""
        small = [self._pool.submit(self._download_small, f) for f in files if f.bytes <= PART]
        big = [self._big.submit(self._download_big, f) for f in files if f.bytes > PART]
        finish([*small, *big])

    def _download_small(self, file: Transfer) -> None:
        data = self.get(file.key)
        if data is None:
            raise DamagedArtifact(f"{self.url(file.key)} is missing")
        check(file, hashlib.sha256(data).hexdigest(), self.url(file.key))
        file.path.write_bytes(data)

    def _download_big(self, file: Transfer) -> None:
        if self.size(file.key) != file.bytes:
            raise DamagedArtifact(f"{self.url(file.key)} is missing or has another size than {file.bytes} bytes")
        with file.path.open("wb") as target:
            starts = range(0, file.bytes, PART)
            finish([self._pool.submit(self._download_part, file, start, target.fileno()) for start in starts])
        check(file, file_digest(file.path), self.url(file.key))

    def _download_part(self, file: Transfer, start: int, descriptor: int) -> None:
        with named_errors(self.url(file.key)):
            part = obstore.get_range(self._client, file.key, start=start, length=min(PART, file.bytes - start))
        os.pwrite(descriptor, part, start)


def check(file: Transfer, sha256: str, what: str) -> None:
    """Raises DamagedArtifact when bytes have another digest than they should."""
    if sha256 != file.sha256:
        raise DamagedArtifact(f"{what} is damaged: its sha256 is {sha256[:12]}…, not {file.sha256[:12]}…")


def checked_parts(file: Transfer, size: int) -> Iterator[bytes]:
    """A file part by part; raises DamagedArtifact before the last one is handed on when the whole has another digest.

    An upload that is fed from this is then aborted, so that no object is created.
    """
    sha256 = hashlib.sha256()
    last = b""
    with file.path.open("rb") as source:
        while block := source.read(size):
            sha256.update(block)
            if last:
                yield last
            last = block
    check(file, sha256.hexdigest(), str(file.path))
    yield last


def finish(tasks: Sequence[Future[None]]) -> None:
    """Wait for all tasks; the first that fails cancels those not begun, and its error is raised once none runs."""
    wait(tasks, return_when=FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
