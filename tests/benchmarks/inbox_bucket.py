"""`python -m tests.benchmarks.inbox_bucket [OBJECTS...]`: what a tick of the inbox bucket costs, on a MinIO of its own.

The objects are of 20 bytes. All but 200 are put into the index as dealt with, without their bytes being read: a tick
at rest lists and compares, and what the other 200 cost depends on their bytes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.inbox.bucket import BucketInbox
from egoworld_resources.inbox.folder import Tick
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server.tools import Tools
from egoworld_resources.settings import Settings
from egoworld_resources.store.s3 import S3Store
from tests.bad_videos import MP4
from tests.servers import s3_running

NEW = 200


def main(sizes: Sequence[int]) -> None:
    """Print a line of a table for each number of objects, which grows from one to the next."""
    print("| objects | tick at rest | one walk | tick that takes 200 | refused and waiting of `status` |")
    print("|---|---|---|---|---|")
    with s3_running("minio", Tools.of(Settings.load())) as at, tempfile.TemporaryDirectory() as folder:
        access = S3Access(endpoint=at.endpoint, access_key=at.access_key, secret_key=at.secret_key, bucket_name="bench")
        Buckets(access).make()
        objects = Objects(access, access.bucket("inbox"))
        there = 0
        for number in sizes:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda n: objects.put(f"{n:06}.mp4", MP4 + f"{n:020}".encode()), range(there, number)))
            there = number
            print(line(access, Path(folder, str(number)), number), flush=True)


def line(access: S3Access, cache: Path, number: int) -> str:
    """The measures of one number of objects."""
    inbox, arrivals = BucketInbox(access, cache), Arrivals(S3Store(access, cache, 1 << 30))
    everything = [(file.key, file.identity()) for page in inbox.pages("") for file in page]
    assert len(everything) == number
    inbox.seen.settle("")
    inbox.seen.add(everything[:-NEW], "made")
    cursor = '{"after": "", "token": "made"}'
    ticks: list[float] = []
    taken = 0.0
    while True:
        seconds, tick = timed(lambda cursor=cursor: inbox.tick(arrivals, cursor, NEW))
        cursor = tick.cursor
        taken = seconds if tick.taken else taken
        if taken and '"after": ""' in cursor:
            break
    while True:
        seconds, tick = timed(lambda cursor=cursor: inbox.tick(arrivals, cursor, NEW))
        cursor = tick.cursor
        ticks.append(seconds)
        assert not tick.taken
        if '"after": ""' in cursor:
            break
    began = time.perf_counter()
    assert not list(inbox.left_out())
    shown = time.perf_counter() - began
    return f"| {number:,} | {max(ticks):.2f} s | {len(ticks)} ticks | {taken:.1f} s | {shown:.1f} s |"


def timed(call: Callable[[], Tick]) -> tuple[float, Tick]:
    """Seconds of a tick, and what came of it."""
    began = time.perf_counter()
    tick = call()
    return time.perf_counter() - began, tick


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000, 10_000, 100_000])
