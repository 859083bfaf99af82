"""Peak memory of every stage on one video, in a process of its own: prints it as JSON.

`python -m tests.benchmarks.peaks VIDEO` with EGOWORLD_HOME set. A failed check does not stop what follows here: a made
video that has no hands somewhere is measured to the end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import Verdict
from egoworld_resources.artifacts.stage import Check, Draft, Stage
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Run, Workbench
from egoworld_resources.running.process import Event
from egoworld_resources.settings import Settings

EVERY_S = 0.1


class Peaks:
    """The most memory (RSS, bytes) that all processes below this one had together, and this one by itself."""

    def __init__(self) -> None:
        self.runner = 0
        self.own = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch while the context lasts; the kernel keeps our own peak, it is set back at the start (proc(5))."""
        Path("/proc/self/clear_refs").write_text("5")
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            self.own = 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def _watch(self, ended: threading.Event) -> None:
        me = psutil.Process()
        while not ended.wait(EVERY_S):
            total = 0
            for process in me.children(recursive=True):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
            self.runner = max(self.runner, total)

    def listen(self, _stage: str, event: Event) -> None:
        """The runner's own word on its peak, which no sampling misses."""
        if event["event"] == "finished":
            self.runner = max(self.runner, event["peak_bytes"])


def only_told(check: Check) -> Check:
    """The same check, which blocks nothing."""

    def told(draft: Draft) -> Verdict:
        return check(draft).model_copy(update={"blocking": False})

    return told


def peak_of(bench: Workbench, stage: Stage, video: str) -> dict[str, Any]:
    """Make one stage of a video; raises RuntimeError with the reason when it cannot be made."""
    peaks = Peaks()
    began = time.monotonic()
    with peaks.watched():
        run = Run("benchmark", peaks.listen)
        (outcome,) = bench.make(replace(stage, checks=tuple(map(only_told, stage.checks))), [video], run)
    if outcome.manifest is None:
        raise RuntimeError(f"{stage.name}: {outcome.why}")
    failed = [clip.reason for clip in outcome.manifest.clips if clip.state == "failed"]
    rows = sum(outcome.manifest.rows.values())
    seconds = round(time.monotonic() - began, 1)
    return {"runner": peaks.runner, "own": peaks.own, "seconds": seconds, "rows": rows, "failed": failed}


def main(path: Path) -> None:
    bench = Workbench(Settings.load())
    video = Arrivals(bench.store).take(path).video
    found: dict[str, Any] = {}
    for stage in stages().values():
        found[stage.name] = peak_of(bench, stage, video)
        print(f"  {path.name} {stage.name}: {found[stage.name]}", file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
