"""videos: the file as it arrived, probed; and the sensor that watches the inbox."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from egoworld_assets import checks
from egoworld_assets.partitions import VIDEOS, Step, materialize, stage_asset
from egoworld_resources.arrivals import Arrival, Arrivals, Refused
from egoworld_resources.inbox import InboxFile, look
from egoworld_resources.stage import Stage
from egoworld_resources.workbench import Workbench

STAGE = Stage("videos", env="base", unit="video", checks=(checks.has_rows("videos"),))

TAKEN_PER_TICK = 200
CLOCK_GRAIN_S = 0.1
"""Change times may lag the clock by a tick of the kernel; the cursor stays that far behind."""


@stage_asset(STAGE, deps=[], kinds={"video"})
def videos(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> Step:
    """A video file: codec, size as displayed, frame times and the index that gives every frame exactly."""
    yield from materialize(context, bench, STAGE)


@dataclass
class Cursor:
    """How far the inbox was seen: change time (ns) of the newest file, and the folders that were seen whole.

    Moving a folder into the inbox renews no file's change time, so all files of a folder that is new here count.
    """

    at: int = 0
    folders: set[str] = field(default_factory=set[str])

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """Parse what ``write`` gave; anything else starts from the beginning, which costs time and doubles nothing."""
        try:
            raw = json.loads(text or "{}")
            return cls(int(raw["at"]), set(raw["folders"]))
        except (ValueError, KeyError, TypeError):
            return cls()

    def write(self) -> str:
        """As text for Dagster."""
        return json.dumps({"at": self.at, "folders": sorted(self.folders)})

    def passed(self, file: InboxFile) -> bool:
        """Whether a file was dealt with in an earlier tick."""
        return file.changed_ns < self.at and file.folder in self.folders


@dg.sensor(
    target=dg.AssetSelection.groups("video_to_dataset"),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def inbox(context: dg.SensorEvaluationContext, bench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Takes files that rest in the inbox, oldest first, and runs the whole flow for each new or replaced video.

    The cursor only saves work: the store knows what was taken and Dagster's run keys what was asked for, so a crash
    in any tick loses and doubles nothing. A file that is refused keeps no other waiting.
    """
    began = time.time()
    files = look(bench.settings.inbox_folder, bench.settings.settle_s, began)
    arrivals = Arrivals(bench.store)
    arrivals.forget_refusals(file.name for file in files)
    cursor = Cursor.read(context.cursor)
    taken, refused, seen = take_ready(arrivals, [f for f in files if f.state == "ready"], cursor)
    for reason in refused:
        context.log.warning(f"refused: {reason}")
    cursor.folders = seen
    newest = int((began - max(bench.settings.settle_s, CLOCK_GRAIN_S)) * 1e9)
    cursor.at = min(cursor.at, newest)
    known = set(context.instance.get_dynamic_partitions(str(VIDEOS.name)))
    return dg.SensorResult(
        run_requests=[run_request(bench, arrival.video) for arrival in taken],
        dynamic_partitions_requests=[VIDEOS.build_add_request([a.video for a in taken if a.video not in known])],
        cursor=cursor.write(),
        skip_reason="; ".join(refused) if refused and not taken else None,
    )


def take_ready(
    arrivals: Arrivals, files: Sequence[InboxFile], cursor: Cursor
) -> tuple[list[Arrival], list[str], set[str]]:
    """Take what the cursor has not passed, at most TAKEN_PER_TICK files that must be read, and move the cursor on.

    Returns what was taken, why others were refused, and the folders that were seen whole. Files at the cursor come
    again in the next tick, for free: a file that is known is not read.
    """
    taken: list[Arrival] = []
    refused: list[str] = []
    seen = {file.folder for file in files}
    read = 0
    passed = Cursor(cursor.at, cursor.folders)
    for file in files:
        if passed.passed(file):
            continue
        if read >= TAKEN_PER_TICK:
            seen.discard(file.folder)
            continue
        cursor.at = max(cursor.at, file.changed_ns)
        if arrivals.refused(file.path, file.name):
            continue
        try:
            arrival = arrivals.take(file.path, file.name)
        except Refused as error:
            refused.append(str(error))
            read += 1
            continue
        read += not arrival.known
        if arrival.state != "duplicate":
            taken.append(arrival)
    return taken, refused, seen


def run_request(bench: Workbench, video: str) -> dg.RunRequest:
    """One run of the whole flow for these bytes of this video; Dagster starts it once per run key."""
    facts = bench.store.recorded("videos", video) or {}
    return dg.RunRequest(run_key=f"{video}:{facts['sha256']}", partition_key=video)
