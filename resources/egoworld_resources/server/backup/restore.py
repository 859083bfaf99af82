"""A server made again from a backup: every byte is compared with its sha256, and the database comes last.

What can be checked is checked before anything is changed. Objects come in the order in which they are written when a
server works (files, manifests, records), so that whatever interrupts it leaves no record of what is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Literal

from boto3.exceptions import Boto3Error

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.errors import BadConfiguration, DamagedArtifact, StoreUnreachable, Terminal
from egoworld_resources.s3.access import BUCKETS, Bucket, S3Access
from egoworld_resources.s3.buckets import Buckets, client, named_faults
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server.backup import dumps
from egoworld_resources.server.backup.copy import AT_ONCE, Whole, pages, server_version
from egoworld_resources.server.backup.files import DUMP, Backup, Contents, Copied, Facts
from egoworld_resources.store.noting import INDEXES

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)

What = Literal["postgres", "buckets"]
ALL: tuple[What, ...] = ("buckets", "postgres")
SMALL = 8 << 20
PAGE = 1_000
SHOWN = 5
ORDER = (
    "key NOT LIKE 'records/%' AND NOT (key LIKE 'artifacts/%' AND key LIKE '%/manifest.json')",
    "key LIKE 'artifacts/%' AND key LIKE '%/manifest.json'",
    "key LIKE 'records/%'",
)
"""The objects of the bucket of artifacts: what is named comes before what names it."""


class NotEmpty(Terminal):
    """Where something was to be restored lies something else."""


def verify(backup: Backup, bytes_too: bool = True) -> list[str]:
    """What is wrong with a backup, in words. bytes_too: of the objects too, not their sizes alone."""
    faults = [
        f"{backup.folder / file.path} is missing or damaged"
        for file in backup.facts.files
        if not (backup.folder / file.path).is_file() or file_digest(backup.folder / file.path) != file.sha256
    ]
    if faults:
        return faults
    contents, looked_at = Contents(backup.folder.parents[1]), set[str]()
    for one in backup.listing.all():
        if one.sha256 not in looked_at:
            looked_at.add(one.sha256)
            right = "" if contents.has(one.sha256, one.bytes) else f"{contents.path(one.sha256)} is missing or cut off"
            fault = contents.fault(one.sha256, one.bytes) if bytes_too else right
            faults += [f"{fault}: {one.bucket}/{one.key}"] if fault else []
    return faults


def restore(backup: Backup, whole: Whole, force: bool = False, only: Collection[What] = ALL) -> Facts:
    """Bring a backup onto a server whose Dagster does not run.

    Without ``force`` only onto one that holds nothing else: what an interrupted restore of the same backup brought may
    lie there. With it the database is replaced, objects are overwritten, and records that the backup lacks are removed;
    other objects stay. Raises DamagedArtifact, BadConfiguration and NotEmpty before anything is changed; DumpFailed and
    StoreUnreachable later too, and IndexAway.
    """
    faults = verify(backup, bytes_too=False)
    if faults:
        more = f", and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise DamagedArtifact(f"backup {backup.folder} is not whole: {'; '.join(faults[:SHOWN])}{more}")
    if "postgres" in only:
        refuse_older(backup, whole)
    if "buckets" in only:
        Buckets(whole.access).make()
    if not force:
        refuse_what_is_there(backup, whole, only)
    if "buckets" in only:
        with closing(client(whole.access, whole.access.endpoint)) as s3:
            fill_buckets(backup, whole.access, s3, force)
    if "postgres" in only:
        rows = dumps.load(whole.postgres, whole.programs, backup.folder / DUMP)
        if rows != {**rows, **backup.facts.tables}:
            differing = [name for name, count in backup.facts.tables.items() if rows.get(name) != count]
            raise dumps.DumpFailed(
                f"the database has other rows than the backup in {', '.join(differing)}; do it again"
            )
        log.info("database: %d rows in %d tables", sum(backup.facts.tables.values()), len(backup.facts.tables))
    distrust_index(whole)
    return backup.facts


def distrust_index(whole: Whole) -> None:
    """Have the index made again from the manifests before it answers, as the only one of these buckets."""
    from egoworld_resources.store.index import Index

    index = Index(url=whole.postgres.url)
    index.distrust()
    objects = Objects(whole.access, whole.access.bucket("artifacts"))
    noted = [stored.key for stored in objects.list(f"records/{INDEXES}")]
    objects.remove([key for key in noted if key != f"records/{INDEXES}/{index.name}.json"])


def refuse_older(backup: Backup, whole: Whole) -> None:
    """Raises BadConfiguration when the Postgres here is older than that of the backup, whose dump it cannot read."""
    here, then = server_version(whole.postgres), backup.facts.postgres
    if here < then:
        raise BadConfiguration(
            f"the backup is of PostgreSQL {then}, here runs {here}, which cannot read it: "
            f"put version {then} or a newer one on the PATH before the server is first started"
        )


def refuse_what_is_there(backup: Backup, whole: Whole, only: Collection[What]) -> None:
    """Raises NotEmpty when anything would be lost or mixed."""
    fix = "restore onto an empty server, or say --force"
    if "postgres" in only and dumps.holds_something(whole.postgres):
        at = whole.postgres
        raise NotEmpty(f"the database at {at.host}:{at.port}/{at.database} knows of runs or partitions; {fix}")
    if "buckets" not in only:
        return
    with closing(client(whole.access, whole.access.endpoint)) as s3:
        for bucket in BUCKETS:
            for page in pages(whole.access, s3, bucket):
                known = backup.listing.known(bucket, [entry.get("Key", "") for entry in page])
                for entry in page:
                    key, size = entry.get("Key", ""), entry.get("Size")
                    if key not in known or known[key].bytes != size:
                        raise NotEmpty(f"s3://{whole.access.bucket(bucket)}/{key} is not in the backup; {fix}")


def fill_buckets(backup: Backup, access: S3Access, s3: S3Client, force: bool) -> None:
    """Write every object of a backup, then compare what the server holds with the list."""
    contents = Contents(backup.folder.parents[1])
    with ThreadPoolExecutor(AT_ONCE, "restore") as pool:
        for bucket in ("weights", "inbox"):
            write(access, s3, bucket, contents, backup.listing.of(bucket), pool)
        for where in ORDER:
            write(access, s3, "artifacts", contents, backup.listing.of("artifacts", where), pool)
    for bucket in BUCKETS:
        there = backup.facts.buckets.get(bucket)
        settle(backup, access, s3, bucket, there.objects if there else 0, force)


def write(
    access: S3Access,
    s3: S3Client,
    bucket: Bucket,
    contents: Contents,
    objects: Iterator[Copied],
    pool: ThreadPoolExecutor,
) -> None:
    """Write some objects, many at once; each that is written has the right sha256."""

    def send(one: Copied) -> None:
        path, name = contents.path(one.sha256), access.bucket(bucket)
        fault = contents.fault(one.sha256, one.bytes)
        if fault:
            raise DamagedArtifact(f"{fault}; {one.key} cannot be restored from this backup")
        with named_faults(f"s3://{name}/{one.key}"):
            if one.bytes <= SMALL:
                s3.put_object(Bucket=name, Key=one.key, Body=path.read_bytes())
                return
            try:
                s3.upload_file(str(path), name, one.key)
            except Boto3Error as error:
                raise StoreUnreachable(f"s3://{name}/{one.key}: {error}") from None

    count = 0
    while batch := list(islice(objects, PAGE)):
        count += len(list(pool.map(send, batch)))
    log.info("bucket %s: %d objects written", access.bucket(bucket), count)


def settle(backup: Backup, access: S3Access, s3: S3Client, bucket: Bucket, wanted: int, force: bool) -> None:
    """Compare a bucket with its list; with ``force`` records go that are of another time. Raises StoreUnreachable."""
    name, found = access.bucket(bucket), 0
    for page in pages(access, s3, bucket):
        keys = {entry.get("Key", ""): entry.get("Size") for entry in page}
        known = backup.listing.known(bucket, list(keys))
        found += sum(one.bytes == keys[key] for key, one in known.items())
        for key in keys.keys() - known.keys() if force and bucket == "artifacts" else ():
            if key.startswith("records/"):
                s3.delete_object(Bucket=name, Key=key)
    if found != wanted:
        raise StoreUnreachable(f"bucket {name} holds {found} of the {wanted} objects as they were written; do it again")
