"""The inbox of a bucket: every object exactly once, in ticks of bounded cost whatever the bucket holds.

S3 lists by key alone and cannot list what is new; and the time that it reports of an object that came in parts
may be the time when its upload began, so no watermark of time is safe. So the bucket is walked in the order of its
keys, PAGES pages of a thousand a tick, from where the tick before it stopped, and from the start again after the last
key. An object that was dealt with costs one line of a listing and one look at an index on this machine. A new object
is seen when the walk comes by: in every tick up to 20,000 objects, in every fifth at 100,000.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from egoworld_resources.errors import BadConfiguration, StoreRefused, StoreUnreachable
from egoworld_resources.inbox.arrivals import Arrival, Arrivals, uploader_of
from egoworld_resources.inbox.first_bytes import HEAD, beside_a_video
from egoworld_resources.inbox.folder import UNFINISHED, Budget, LeftOut, Tick, aside
from egoworld_resources.inbox.origins import BLOCK, Refused, StillChanging, changed, empty, poured
from egoworld_resources.inbox.seen import Seen
from egoworld_resources.layout import readable
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import client, named_faults

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ASKED = 100
LAST = "\U0010ffff"
"""Behind every key that begins alike."""
LOST = "\ufffd"
"""What versitygw lists in place of a control character, so that such an object cannot be requested."""
PAGE = 1_000
PAGES = 20
BIG = 256 << 20
"""Objects of more bytes are read in parallel to the ticks, one after the other; a later tick reports the result."""


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

    def head(self) -> bytes:
        """The first bytes of what was listed. Raises Refused, StoreUnreachable."""
        if self.bytes == 0:
            raise empty(self.key)
        with self._named_faults():
            first = f"bytes=0-{HEAD - 1}"
            found = self.client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.tag, Range=first)
            return found["Body"].read()

    def copy(self, target: IO[bytes]) -> tuple[str, int, str]:
        """Write the bytes that were listed and no others. Raises Refused, StoreUnreachable."""
        if self.bytes == 0:
            raise empty(self.key)
        with self._named_faults():
            body = self.client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.tag)["Body"]
            digest, size = poured(body.iter_chunks(BLOCK), target)
        if size != self.bytes:
            raise changed(self.key)
        return digest, size, self.identity()

    @contextmanager
    def _named_faults(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._refused(error) from None
        except BotoCoreError as error:
            raise StoreUnreachable(f"{self.where}: {error}; check S3_ENDPOINT and that the server runs") from None

    def _refused(self, error: ClientError) -> Exception:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
        if status == 404 and LOST in self.key:
            return Refused(f"{readable(self.key)!r}: the server lists its name wrong; upload it under a plain name")
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
        self.seen = Seen(cache / f"inbox-{place}.sqlite")
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
        """Files that wait or are not videos, by name: the whole bucket is listed, a request for a thousand objects.

        Keys that may not list it, those of a reader, see that instead.
        """
        beside: list[str] = []
        try:
            for page in self.pages(""):
                beside += [file.key for file in page if beside_a_video(file.key)]
                for file in page:
                    why = waiting(file.key)
                    if why:
                        yield LeftOut(readable(file.key), "waiting", why)
        except StoreRefused as error:
            yield LeftOut(self.where, "waiting", f"what waits is not shown, this key may not list the bucket: {error}")
        yield from aside(beside)

    def tick(self, arrivals: Arrivals, cursor: str | None, at_most: int) -> Tick:
        """Take what is new among the next PAGES pages, as far as a tick goes.

        An uploader that has had a turn waits until the walk has come to the last key of the others. The index learns
        what a tick took when the next one brings its cursor: what Dagster never received is reported again.
        """
        after, token = read_cursor(cursor)
        self.seen.settle(token)
        if not after:
            self._forget_refusals(arrivals)
        walk = Walk(self, arrivals, Budget(at_most, self._clock))
        stopped = self._walked(walk, after)
        token = secrets.token_hex(8)
        self.seen.add(walk.done.items(), token)
        return Tick(walk.taken, walk.refused, json.dumps({"after": stopped, "token": token}))

    def _walked(self, walk: Walk, after: str) -> str:
        """Go through pages; the key after which the next tick continues, empty for the first."""
        more, pages = True, 0
        while more and pages < PAGES:
            page, last, more = self._page(after)
            pages += 1
            after, in_time = walk.page(page, after, self.seen)
            if not in_time:
                return after
            after = walk.beyond(last)
        if more:
            return after
        for whose, after in walk.waiting.items():
            more = True
            while more and pages < PAGES:
                page, last, more = self._page(after, f"{whose}/" if whose else "")
                pages += 1
                after, in_time = walk.page(page, after, self.seen, everybody=True)
                if not in_time:
                    return ""
                after = last
        return ""

    def brought(self, arrivals: Arrivals, file: ObjectOrigin) -> Arrival | None:
        """What became of an object; None while it is read beside the ticks."""
        if file.bytes <= BIG:
            return arrivals.bring(file, file.key)
        name = f"{file.key}@{file.identity()}"
        if name not in self._running:
            self._running[name] = self._pool.submit(arrivals.bring, file, file.key)
            return None
        return self._running.pop(name).result() if self._running[name].done() else None

    def _forget_refusals(self, arrivals: Arrivals) -> None:
        """At the start of each walk, drop refusals whose object is gone: a request each for some of them."""
        place = f"{self.where}/"
        there = {key: where[len(place) :] for key, where in arrivals.refused_at().items() if where.startswith(place)}
        checked = secrets.SystemRandom().sample(sorted(there), min(len(there), ASKED))
        arrivals.forget(key for key in checked if not self._is_there(there[key]))

    def _is_there(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404
        except BotoCoreError:
            return True
        return True

    def pages(self, after: str) -> Iterator[list[ObjectOrigin]]:
        """Objects behind a key in key order, page by page."""
        more = True
        while more:
            page, after, more = self._page(after)
            yield page

    def _page(self, after: str, below: str = "") -> tuple[list[ObjectOrigin], str, bool]:
        """Objects after a key except markers of folders, the last key of the page, and whether there are more."""
        try:
            with named_faults(self.where):
                found = self._client.list_objects_v2(Bucket=self.bucket, StartAfter=after, Prefix=below, MaxKeys=PAGE)
        except StoreUnreachable as error:
            if "NoSuchBucket" in str(error):
                raise BadConfiguration(
                    f"{self.where}: the bucket does not exist; `egoworld buckets` makes it"
                ) from None
            raise
        page = [
            ObjectOrigin(self._client, self.bucket, e["Key"], e["Size"], e["ETag"], e["LastModified"])
            for e in found.get("Contents", [])
            if "Key" in e and "Size" in e and "ETag" in e and "LastModified" in e
        ]
        last = page[-1].key if page else after
        files = [file for file in page if not (file.key.endswith("/") and file.bytes == 0)]
        return files, last, found["IsTruncated"] and bool(page)


class Walk:
    """One tick's way through the bucket: what was taken and refused, and which uploaders wait for the others.

    waiting: the key after which the files of an uploader were left for the end of the tick. done: identities by key.
    """

    def __init__(self, inbox: BucketInbox, arrivals: Arrivals, budget: Budget) -> None:
        self._inbox, self._arrivals, self._budget = inbox, arrivals, budget
        self.taken: list[Arrival] = []
        self.refused: list[str] = []
        self.done: dict[str, str] = {}
        self.waiting: dict[str, str] = {}

    def page(
        self, files: Sequence[ObjectOrigin], after: str, seen: Seen, *, everybody: bool = False
    ) -> tuple[str, bool]:
        """Deal with a page behind a key; the last key that was seen to, and whether there is time for more.

        everybody: those too who have had a turn.
        """
        known = seen.known(file.key for file in files) | self.done
        for file in files:
            new = known.get(file.key) != file.identity() and not waiting(file.key) and not beside_a_video(file.key)
            if new and (everybody or not self._waits(file.key, after)):
                if self._budget.over():
                    return after, False
                self._deal(file)
            after = file.key
        return after, True

    def beyond(self, last: str) -> str:
        """Where the walk continues after a page: after all files of its last uploader if those wait."""
        whose = uploader_of(last)
        return f"{whose}/{LAST}" if whose and whose in self.waiting else last

    def _waits(self, key: str, after: str) -> bool:
        whose = uploader_of(key)
        if whose not in self.waiting and self._budget.had_a_turn(key):
            self.waiting[whose] = after
        return whose in self.waiting

    def _deal(self, file: ObjectOrigin) -> None:
        if self._arrivals.refused(file, file.key):
            self.done[file.key] = file.identity()
            return
        try:
            arrival = self._inbox.brought(self._arrivals, file)
        except Refused as error:
            self._budget.spend(file.key, refused=True)
            self.refused.append(str(error))
            if not isinstance(error, StillChanging):
                self.done[file.key] = file.identity()
            return
        if arrival is not None:
            if not arrival.known:
                self._budget.spend(file.key)
            self.done[file.key] = file.identity()
            self.taken += [arrival] if arrival.to_be_made else []


def waiting(key: str) -> str:
    """Why an object is not taken yet; empty when it may be."""
    suffix = next((end for end in UNFINISHED if key.endswith(end)), "")
    return f"{suffix} is the suffix of an unfinished transfer; it is taken under its final name" if suffix else ""


def read_cursor(text: str | None) -> tuple[str, str]:
    """The key after which to continue and the token of the last tick that counted; anything else starts over."""
    try:
        raw = json.loads(text or "{}")
        return str(raw["after"]), str(raw["token"])
    except (ValueError, KeyError, TypeError):
        return "", ""
