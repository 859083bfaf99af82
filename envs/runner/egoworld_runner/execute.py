"""Run a job: set the model up once, then clip after clip, each written beside and renamed when whole."""

from __future__ import annotations

import importlib
import json
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from egoworld_runner.clip import Clip
from egoworld_runner.clip_ids import clip_id
from egoworld_runner.errors import BadJob, BadVideo, ClipFailed
from egoworld_runner.events import Events
from egoworld_runner.inputs import Inputs
from egoworld_runner.job import REPORT, WHOLE, Job, Span, VideoJob
from egoworld_runner.memory import memory_bound
from egoworld_runner.runner import Runner
from egoworld_runner.space import NoSpace, ran_out
from egoworld_runner.video import FrameIndex
from egoworld_runner.writer import ClipWriter


def load_runner(folder: Path, entry: str) -> Runner:
    """Import ``module:Class`` from a model env's folder; raises BadJob naming what is missing."""
    module_name, _, class_name = entry.partition(":")
    if not (folder / f"{module_name}.py").is_file():
        raise BadJob(f"{folder / module_name}.py does not exist; entry '{entry}' must be module:Class in that folder")
    sys.path.insert(0, str(folder))
    module = importlib.import_module(module_name)
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, Runner)):
        found = sorted(
            n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Runner) and v is not Runner
        )
        raise BadJob(f"{folder / module_name}.py has no Runner '{class_name}'; it has: {', '.join(found) or 'none'}")
    return kind()


def run_job(job: Job, events: Events) -> dict[str, int]:
    """Run every clip that has no report yet; returns counts of clips done and failed. Raises BadJob, NoSpace."""
    began = time.monotonic()
    runner = load_runner(Path(job.folder), job.entry)
    runner.setup({name: Path(path) for name, path in job.weights.items()}, job.device)
    events.emit("loaded", seconds=round(time.monotonic() - began, 3), stage=job.stage)
    counts = {"done": 0, "failed": 0}
    for video in job.videos:
        for state in _run_video(runner, job, video, events):
            counts[state] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    events.emit("finished", **counts, peak_bytes=peak, seconds=round(time.monotonic() - began, 3))
    return counts


def _run_video(runner: Runner, job: Job, video: VideoJob, events: Events) -> Iterator[str]:
    output = Path(video.output)
    output.mkdir(parents=True, exist_ok=True)
    units = _units(video)
    waiting = {name: span for name, span in units.items() if not (output / name / REPORT).is_file()}
    if not waiting:
        return
    first = next(iter(waiting))
    events.emit("start", video=video.video, unit=first)
    try:
        if video.frames:
            index = FrameIndex.read(Path(video.frames))
        else:
            index = FrameIndex.scan(Path(video.path), partial(events.reading, video.video, first))
    except Exception as error:  # noqa: BLE001 no file, however broken, stops the batch
        if not isinstance(error, ClipFailed | MemoryError):
            what = f"{Path(video.path).name}: reading it failed ({type(error).__name__}: {error}); export it again"
            error = BadVideo(what).with_traceback(error.__traceback__)
        for name in waiting:
            yield _finish_failed(output, name, video, error, 0.0, events)
        return
    for name, span in waiting.items():
        if name != first:
            events.emit("start", video=video.video, unit=name)
        start, end = (0, len(index)) if span is None else (span.start_frame, span.end_frame)
        yield _run_clip(runner, job, video, index, name, Span(start, end), events)


def _units(video: VideoJob) -> dict[str, Span | None]:
    if video.clips is None:
        return {WHOLE: None}
    return {clip_id(video.video, span.start_frame, span.end_frame): span for span in video.clips}


def _run_clip(
    runner: Runner, job: Job, video: VideoJob, index: FrameIndex, name: str, span: Span, events: Events
) -> str:
    output = Path(video.output)
    partial_folder = _fresh(output / f".{name}.partial")
    began = time.monotonic()
    whole = name == WHOLE
    clip = Clip(
        video=video.video,
        path=Path(video.path),
        index=index,
        start_frame=span.start_frame,
        end_frame=span.end_frame,
        folder=partial_folder,
        whole=whole,
        on_progress=partial(events.progress, video.video, name),
    )
    inputs = Inputs({n: Path(p) if p else None for n, p in video.inputs.items()}, None if whole else name)
    try:
        if span.end_frame > len(index):
            raise ClipFailed(f"the clip ends at frame {span.end_frame}, but {Path(video.path).name} has {len(index)}")
        writer = ClipWriter(clip, partial_folder, runner.writes)
        try:
            for row in runner.run(clip, inputs, job.params):
                writer.write(row)
        finally:
            writer.close()
    except Exception as error:
        # One bad clip never stops the batch: any fault becomes this clip's reason.
        if ran_out(error, output):
            shutil.rmtree(partial_folder, ignore_errors=True)
            raise NoSpace(f"no space left in {output}") from error
        return _finish_failed(output, name, video, error, time.monotonic() - began, events)
    report = {"state": "done", "rows": writer.counts, "notes": clip.notes}
    return _finish(partial_folder, output / name, clip.clip_id, video, report, time.monotonic() - began, events)


def _finish_failed(output: Path, name: str, video: VideoJob, error: Exception, seconds: float, events: Events) -> str:
    folder = _fresh(output / f".{name}.partial")
    trace = "".join(traceback.format_exception(error))
    whose = {"deliberate": isinstance(error, ClipFailed)}
    report = {"state": "failed", "reason": _reason(error, video), **whose, "trace": trace}
    return _finish(folder, output / name, None if name == WHOLE else name, video, report, seconds, events)


def _reason(error: Exception, video: VideoJob) -> str:
    """Why a clip failed, in words that name the file as people know it."""
    shown = video.name or Path(video.path).name
    if isinstance(error, ClipFailed):
        return str(error).replace(Path(video.path).name, shown)
    if isinstance(error, MemoryError):
        return f"{shown}: not enough memory{memory_bound()} ({error}); allow more, or give a smaller or shorter video"
    return f"{type(error).__name__}: {error}"


def _finish(
    folder: Path,
    final: Path,
    unit_id: str | None,
    video: VideoJob,
    report: dict[str, Any],
    seconds: float,
    events: Events,
) -> str:
    report = {"clip_id": unit_id, **report, "seconds": round(seconds, 3)}
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    events.emit("clip", video=video.video, unit=final.name, **{k: v for k, v in report.items() if k != "trace"})
    return report["state"]


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
