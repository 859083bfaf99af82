"""A copy of a running server from which it can be made again: the database, every object of the buckets, the .env.

It is consistent although the server goes on working. The database comes first: what Dagster tells of then is in the
buckets already, as artifacts are stored before Dagster records them; what is made meanwhile Dagster records later, when
the next refresh or the inbox sensor comes by. In the bucket of the artifacts the records come first, then manifests,
then all else: a record names a version whose manifest is there, a manifest files that are there, and none of them
changes. Nothing may be removed meanwhile: the caller holds ``removals.copying``.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from egoworld_resources.artifacts.manifest import MANIFEST, stored_files
from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.errors import StoreUnreachable
from egoworld_resources.leases.locks import locked
from egoworld_resources.s3.access import Bucket, S3Access
from egoworld_resources.s3.buckets import client, named_faults
from egoworld_resources.server.backup import dumps
from egoworld_resources.server.backup.files import (
    DUMP,
    FACTS,
    OBJECTS,
    Backup,
    Contents,
    Copied,
    Facts,
    Listing,
    Total,
    backups,
)
from egoworld_resources.server.postgres import PostgresAddress

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectTypeDef

log = logging.getLogger(__name__)

AT_ONCE = 8
BLOCK = 1 << 20


@dataclass(frozen=True)
class Whole:
    """What a server's state is made of. programs: where pg_dump lies; files: further ones by their name in a backup."""

    postgres: PostgresAddress
    programs: Path
    access: S3Access
    files: Mapping[str, Path]


def back_up(whole: Whole, folder: Path, keep: int = 0) -> Backup:
    """Make a backup below ``folder``; only what no earlier one there has is copied. keep: how many stay.

    Written beside and renamed: an interrupted one leaves no backup, and contents that the next one finds. Raises
    DumpFailed, DiskFull, StoreRefused, StoreUnreachable.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder / ".lock"), naming_a_full_disk(folder):
        began, contents = time.monotonic(), Contents(folder)
        contents.prepare()
        (folder / "backups").mkdir(exist_ok=True, mode=0o700)
        for left in (folder / "backups").glob(".*"):
            shutil.rmtree(left)
        earlier = backups(folder)
        made_at = datetime.now(UTC)
        part = folder / "backups" / ".part"
        part.mkdir(mode=0o700)
        tables = dumps.dump(whole.postgres, whole.programs, part / DUMP)
        log.info("database: %d rows in %d tables", sum(tables.values()), len(tables))
        new = copy_buckets(whole.access, contents, Listing(part / OBJECTS), earlier[-1].listing if earlier else None)
        for name, file in whole.files.items():
            shutil.copyfile(file, part / name)
        for file in part.iterdir():
            file.chmod(0o600)
        facts = Facts(
            made_at=made_at.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 1),
            host=socket.gethostname(),
            egoworld=version("egoworld"),
            dagster=version("dagster"),
            postgres=server_version(whole.postgres),
            tables=tables,
            buckets=Listing(part / OBJECTS).totals(),
            new=new,
            files=tuple(stored_files(part)),
        )
        (part / FACTS).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
        os.sync()  # every byte is on the disk before the name says that it is
        made = Backup(part.rename(free_name(folder / "backups", made_at)), facts)
        if keep:
            thin_out(folder, contents, keep)
    return made


def copy_buckets(access: S3Access, contents: Contents, listing: Listing, before: Listing | None) -> Total:
    """Copy all buckets in the order that keeps them consistent; what was new."""
    listing.make()
    with closing(client(access, access.endpoint)) as s3, ThreadPoolExecutor(AT_ONCE, "backup") as pool:
        copier = Copier(access, s3, pool, contents, listing, before)
        copier.copy("artifacts", "records/", lambda _: True)
        copier.copy("artifacts", "artifacts/", is_manifest)
        copier.copy("artifacts", "", lambda key: not key.startswith("records/") and not is_manifest(key))
        copier.copy("weights", "", lambda _: True)
        copier.copy("inbox", "", lambda _: True)
    return Total(objects=copier.objects, bytes=copier.bytes)


def is_manifest(key: str) -> bool:
    """Whether an object makes a version of an artifact whole."""
    return key.startswith("artifacts/") and key.count("/") == 4 and key.endswith(f"/{MANIFEST}")


@dataclass
class Copier:
    """Copies objects, a page of a listing at a time."""

    access: S3Access
    s3: S3Client
    pool: ThreadPoolExecutor
    contents: Contents
    listing: Listing
    before: Listing | None
    objects: int = 0
    bytes: int = 0

    def copy(self, bucket: Bucket, prefix: str, wanted: Callable[[str], bool]) -> None:
        """Copy the objects below a prefix that are wanted."""
        seen = 0
        for page in pages(self.access, self.s3, bucket, prefix):
            listed = [entry for entry in page if wanted(entry.get("Key", ""))]
            held = self._held(bucket, listed)
            missing = [entry for entry in listed if entry.get("Key", "") not in held]
            copied = [one for one in self.pool.map(lambda entry: self._fetch(bucket, entry), missing) if one]
            self.listing.add([*held.values(), *copied])
            self.objects += len(copied)
            self.bytes += sum(one.bytes for one in copied)
            seen += len(listed)
        log.info("bucket %s/%s: %d objects", self.access.bucket(bucket), prefix, seen)

    def _held(self, bucket: str, listed: Sequence[ObjectTypeDef]) -> dict[str, Copied]:
        """Those that an earlier backup has and that have not changed since."""
        if self.before is None or not listed:
            return {}
        known = self.before.known(bucket, [entry.get("Key", "") for entry in listed])
        now = {e.get("Key", ""): (e.get("ETag", ""), e.get("Size", -1)) for e in listed}
        return {
            key: one
            for key, one in known.items()
            if one.tag and (one.tag, one.bytes) == now[key] and self.contents.has(one.sha256, one.bytes)
        }

    def _fetch(self, bucket: Bucket, entry: ObjectTypeDef) -> Copied | None:
        """Copy one object as it is now; None when it went away meanwhile."""
        key, name = entry.get("Key", ""), self.access.bucket(bucket)
        try:
            with named_faults(f"s3://{name}/{key}"):
                answer = self.s3.get_object(Bucket=name, Key=key)
                sha256, size = self.contents.add(answer["Body"].iter_chunks(BLOCK))
        except StoreUnreachable:
            if gone(self.s3, name, key):
                return None
            raise
        if size != answer["ContentLength"]:
            raise StoreUnreachable(f"s3://{name}/{key} ended after {size} of {answer['ContentLength']} bytes")
        return Copied(bucket, key, size, answer["ETag"], sha256)


def pages(access: S3Access, s3: S3Client, bucket: Bucket, prefix: str = "") -> Iterator[Sequence[ObjectTypeDef]]:
    """The objects below a prefix, a thousand at a time."""
    name = access.bucket(bucket)
    listing = s3.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix)
    with named_faults(f"bucket {name}"):
        for page in listing:
            yield page.get("Contents", [])


def gone(s3: S3Client, bucket: str, key: str) -> bool:
    """Whether there is no such object any more."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404
    except BotoCoreError:
        return False
    return False


def server_version(at: PostgresAddress) -> int:
    """The major version of a Postgres."""
    with closing(dumps.connected(at)) as connection:
        return connection.server_version // 10_000


def free_name(folder: Path, made_at: datetime) -> Path:
    """A name that says when it was made and that no other backup has."""
    name = made_at.strftime("%Y-%m-%dT%H%M%SZ")
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    return next(folder / name for name in names if not (folder / name).exists())


def thin_out(folder: Path, contents: Contents, keep: int) -> None:
    """Remove the oldest backups beyond ``keep``, then the contents that none of the others names."""
    found = backups(folder)
    for old in found[:-keep]:
        hidden = old.folder.rename(old.folder.with_name(f".{old.folder.name}"))
        shutil.rmtree(hidden)
    named = {one.sha256 for backup in found[-keep:] for one in backup.listing.all()}
    log.info("%d older backups and %d contents removed", len(found[:-keep]), contents.sweep(named))
