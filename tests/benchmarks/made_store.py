"""A store with thousands of videos, written through the store's own API: every stage made by today's recipes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import repeat
from multiprocessing import get_context

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import ClipReport, Manifest, Verdict, data_version, stored_files
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.settings import Settings
from egoworld_runner import clip_id

FAILED, QUARANTINED, STALE, NEW = 50, 40, 25, 20
"""Every n-th video failed at tracks, is quarantined at masks, was made by other parameters, or is not begun."""


def fill(settings: Settings, videos: range, upto: int | None = None) -> None:
    """Write videos by number, with one process per core. upto: how many first stages of each; default all."""
    cores = len(os.sched_getaffinity(0))
    parts = [range(videos.start + n, videos.stop, cores) for n in range(cores)]
    # this process may have threads, of which a fork would take the locks
    with ProcessPoolExecutor(cores, get_context("forkserver")) as pool:
        list(pool.map(_fill, repeat(settings), parts, repeat(upto)))


def _fill(settings: Settings, videos: range, upto: int | None) -> None:
    bench = Workbench(settings)
    with unflushed():
        for number in videos:
            add_video(bench, number, upto)


@contextmanager
def unflushed() -> Iterator[None]:
    """No wait for the disk: 10,000 videos are half a million flushes, and a made-up store need not survive a crash."""
    flush, os.fsync = os.fsync, lambda _descriptor: None
    try:
        yield
    finally:
        os.fsync = flush


def add_video(bench: Workbench, number: int, upto: int | None = None) -> None:
    """One video with all of its artifacts; some have failed, are quarantined, stale or not begun."""
    key, name = f"made-{number:05d}", f"kitchen/made {number:05d}.mp4"
    sha256 = hashlib.sha256(key.encode()).hexdigest()
    facts = {"name": name, "sha256": sha256, "bytes": 40_000_000 + number, "suffix": ".mp4", "origin": name, "seen": ""}
    bench.store.record("videos", key, {**facts, "arrived_at": datetime.now(UTC).isoformat(timespec="seconds")})
    if number % NEW == 1:
        return
    made: dict[str, Manifest] = {}
    for stage in list(stages().values())[:upto]:
        inputs = {name: made[name].data_version if name in made else None for name in (*stage.inputs, *stage.optional)}
        if all(inputs[name] for name in stage.inputs):
            manifest = add_artifact(bench, stage, key, number, {SOURCE: sha256, **inputs}, facts)
            if manifest and not manifest.quarantine:
                made[stage.name] = manifest


def add_artifact(
    bench: Workbench, stage: Stage, video: str, number: int, inputs: dict[str, str | None], facts: dict[str, object]
) -> Manifest | None:
    """One artifact as the workbench writes it; None where it failed."""
    recipe = bench.recipe(stage)
    if stage.name == "tracks" and number % FAILED == 2:
        record = {"reason": "no clip could be tracked", "fingerprint": fingerprint(recipe, inputs), "attempts": 1}
        bench.store.record("failures", f"{stage.name}/{video}", {**record, "again": "", "at": ""})
        return None
    if stage.name == "previews" and number % STALE == 3:
        recipe = recipe.model_copy(update={"params": {**recipe.params, "quality": number}})
    folder = bench.layout.scratch / f"{stage.name}-{video}"
    folder.mkdir(parents=True)
    (folder / f"{stage.name}.parquet").write_text(f"{stage.name} of {video}", encoding="utf-8")
    files = stored_files(folder)
    units = [clip_id(video, 300 * n, 300 * n + 300) for n in range(4)] if stage.unit == "clip" else ["whole"]
    bad = "no mask in any clip" if stage.name == "masks" and number % QUARANTINED == 4 else ""
    manifest = Manifest(
        asset=stage.name,
        video=video,
        data_version=data_version(files),
        fingerprint=fingerprint(recipe, inputs),
        files=files,
        inputs=inputs,
        recipe=recipe,
        clips=[
            ClipReport(unit=u, state="done", seconds=9.5, rows={stage.name: 550}, notes={"frames": 300}) for u in units
        ],
        checks=[Verdict(check="finds_something", passed=not bad, reason=bad), Verdict(check="no_jumps", passed=True)],
        licences=["Apache-2.0", "CC0-1.0", recipe.licence],
        source={name: facts[name] for name in ("name", "sha256", "bytes")},
        run_id="8f14e45f-ceea-467f-a9c1-000000000000",
        host="made-up",
        gpu=None,
        seconds=9.5 * len(units),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    bench.store.put(folder, manifest)
    return manifest


def clip_report(stage: Stage, unit: str) -> ClipReport:
    """What a runner says of a clip that went well."""
    return ClipReport(unit=unit, state="done", seconds=9.5, rows={stage.name: 550}, notes={"frames": 300})
