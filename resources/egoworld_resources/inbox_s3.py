"""The inbox of a bucket: every object exactly once, in ticks whose cost is bounded whatever lies there.

S3 lists by key alone and cannot be asked for what is new; and the time that it tells of an object that came in parts
may be the time when its upload began, so no watermark of time is safe. So the bucket is walked in the order of its
keys, PAGES pages of a thousand a tick, from where the tick before it stopped, and from the start again after the last
key. An object that was dealt with costs one line of a listing and one look at an index on this machine. A new object
is seen when the walk comes by: in every tick up to 20,000 objects, in every fifth at 100,000.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from egoworld_resources.arrivals import Arrival, Arrivals
from egoworld_resources.errors import BadConfiguration, StoreRefused, StoreUnreachable
from egoworld_resources.inbox import UNFINISHED, LeftOut, Tick
from egoworld_resources.layout import readable
from egoworld_resources.origins import BLOCK, Refused, changed, empty, poured
from egoworld_resources.s3_access import S3Access
from egoworld_resources.s3_buckets import client, named_faults
from egoworld_resources.s3_seen import Seen

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PAGE = 1_000
PAGES = 20
SECONDS = 20.0
"""No object is begun later in a tick; Dagster ends a tick after 60 s."""
BIG = 256 << 20
"""Objects of more bytes are read beside the ticks, one after the other; a later tick tells what became of them."""


@dataclass(frozen=True)
class ObjectOrigin:
    """One object as it was listed. Its tag and time change with its bytes."""

    client: S3Client
    bucket: str
    key: str
    bytes: int
    tag: str
    modified: datetime

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def identity(self) -> str:
        return f"{self.tag}:{self.bytes}:{self.modified.isoformat()}"

    def copy(self, target: IO[bytes]) -> tuple[str, int, str]:
        """Write the bytes that were listed and no others. Raises Refused, StoreUnreachable."""
        if self.bytes == 0:
            raise empty(self.key)
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.tag)["Body"]
            digest, size = poured(body.iter_chunks(BLOCK), target)
        except ClientError as error:
            raise self._refused(error) from None
        except BotoCoreError as error:
            raise StoreUnreachable(f"{self.where}: {error}; check S3_ENDPOINT and that the server runs") from None
        if size != self.bytes:
            raise changed(self.key)
        return digest, size, self.identity()

    def _refused(self, error: ClientError) -> Exception:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
        if status in (404, 412):
            return changed(self.key)
        if status >= 500:
            return StoreUnreachable(f"{self.where}: {error}; check that the server runs")
        return Refused(f"{readable(self.key)!r} cannot be read ({error}); allow reading it or upload it again")


class BucketInbox:
    """The inbox bucket. cache: folder of this machine. Raises StoreUnreachable, StoreRefused, BadConfiguration."""

    def __init__(self, access: S3Access, cache: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self.bucket = access.bucket("inbox")
        place = sha256(f"{access.endpoint}/{self.bucket}".encode()).hexdigest()[:12]
        self._seen = Seen(cache / f"inbox-{place}.sqlite")
        self._clock = clock
        self._running: dict[str, Future[Arrival]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="inbox")

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}"

    @cached_property
    def _client(self) -> S3Client:
        return client(self._access, self._access.endpoint)

    def left_out(self) -> Iterable[LeftOut]:
        """What bears the name of an unfinished transfer: the whole bucket is listed, a request for a thousand objects.

        Keys that may not list it, those of a reader, see that instead.
        """
        try:
            for page in self._pages(""):
                for file in page:
                    why = waiting(file.key)
                    if why:
                        yield LeftOut(readable(file.key), "waiting", why)
        except StoreRefused as error:
            yield LeftOut(self.where, "waiting", f"what waits is not shown, this key may not list the bucket: {error}")

    def tick(self, arrivals: Arrivals, cursor: str | None, at_most: int) -> Tick:
        """Take what is new among the next PAGES pages, until so many objects were read or SECONDS have passed.

        The index learns what a tick took when the next one brings its cursor: what Dagster never heard of is told
        again.
        """
        after, token = read_cursor(cursor)
        self._seen.settle(token)
        if not after:
            self._forget_refusals(arrivals)
        end = self._clock() + SECONDS
        taken: list[Arrival] = []
        refused: list[str] = []
        done: list[tuple[str, str]] = []
        read = 0
        for number, page in enumerate(self._pages(after), 1):
            known = self._seen.known(file.key for file in page)
            for file in page:
                if known.get(file.key) != file.identity() and not waiting(file.key):
                    if read >= at_most or self._clock() > end:
                        return self._ended(taken, refused, done, after)
                    try:
                        arrival = self._brought(arrivals, file)
                        if arrival is not None:
                            read += not arrival.known
                            done.append((file.key, file.identity()))
                            taken += [arrival] if arrival.state != "duplicate" else []
                    except Refused as error:
                        read += 1
                        refused.append(str(error))
                after = file.key
            if number == PAGES:
                return self._ended(taken, refused, done, after)
        return self._ended(taken, refused, done, "")

    def _ended(self, taken: list[Arrival], refused: list[str], done: list[tuple[str, str]], after: str) -> Tick:
        token = secrets.token_hex(8)
        self._seen.add(done, token)
        return Tick(taken, refused, json.dumps({"after": after, "token": token}))

    def _brought(self, arrivals: Arrivals, file: ObjectOrigin) -> Arrival | None:
        """What became of an object; None while it is read beside the ticks, or when it was refused before."""
        name = f"{file.key}@{file.identity()}"
        if file.bytes > BIG:
            if name not in self._running:
                if not arrivals.refused(file, file.key):
                    self._running[name] = self._pool.submit(arrivals.bring, file, file.key)
                return None
            return self._running.pop(name).result() if self._running[name].done() else None
        return None if arrivals.refused(file, file.key) else arrivals.bring(file, file.key)

    def _forget_refusals(self, arrivals: Arrivals) -> None:
        """At the start of each walk, drop refusals whose object is gone: one request for each of them."""
        place = f"{self.where}/"
        there = {key: where[len(place) :] for key, where in arrivals.refused_at().items() if where.startswith(place)}
        arrivals.forget(key for key, object_key in there.items() if not self._is_there(object_key))

    def _is_there(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404
        except BotoCoreError:
            return True
        return True

    def _pages(self, after: str) -> Iterator[list[ObjectOrigin]]:
        """Objects behind a key in key order, page by page; what stands for a folder is none."""
        more = True
        while more:
            try:
                with named_faults(self.where):
                    found = self._client.list_objects_v2(Bucket=self.bucket, StartAfter=after, MaxKeys=PAGE)
            except StoreUnreachable as error:
                if "NoSuchBucket" in str(error):
                    raise BadConfiguration(
                        f"{self.where}: there is no such bucket; `egoworld buckets` makes it"
                    ) from None
                raise
            entries = found.get("Contents", [])
            more = bool(found["IsTruncated"] and entries)
            page = [
                ObjectOrigin(self._client, self.bucket, e["Key"], e["Size"], e["ETag"], e["LastModified"])
                for e in entries
                if "Key" in e and "Size" in e and "ETag" in e and "LastModified" in e
            ]
            after = page[-1].key if page else after
            yield [file for file in page if not (file.key.endswith("/") and file.bytes == 0)]


def waiting(key: str) -> str:
    """Why an object is not taken yet; empty when it may be."""
    suffix = next((end for end in UNFINISHED if key.endswith(end)), "")
    return f"{suffix} is the suffix of an unfinished transfer; it is taken under its final name" if suffix else ""


def read_cursor(text: str | None) -> tuple[str, str]:
    """The key after which to go on and the token of the last tick that counted; anything else starts anew."""
    try:
        raw = json.loads(text or "{}")
        return str(raw["after"]), str(raw["token"])
    except (ValueError, KeyError, TypeError):
        return "", ""
