"""Jobs run as processes: bad clips, second runs, noise, the end by SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egoworld_runner import BadJob, clip_id
from egoworld_runner.events import Events
from egoworld_runner.execute import run_job
from egoworld_runner.job import Job, Span, VideoJob
from made_videos import counting

LENGTH = 40

RUNNER = '''
"""What a model may do to the contract, chosen by a parameter for clips that do not begin at frame 0."""

import ctypes
import os
import time
from pathlib import Path

from egoworld_runner import ClipFailed, Runner, tables


class Number(Runner):
    writes = (tables.Detection,)

    def setup(self, weights, device):
        print("loading", flush=True)
        os.system("echo a child prints too")

    def run(self, clip, inputs, params):
        for frame in clip.frames():
            if params.get("loud", True):
                print(frame.index, "not an event", flush=True)
                os.write(1, b"{half a line")
            number = sum(1 << bit for bit in range(8) if frame.rgb[:, clip.width * (2 * bit + 1) // 16].mean() > 128)
            yield tables.Detection(frame.index, str(number), 1.0, 0, 0, clip.width, clip.height)
            clip.progress(frame.index)
            if clip.start_frame and frame.index > clip.start_frame:
                getattr(self, params.get("fault", "nothing"))(clip, params)
        (clip.folder / "frames.txt").write_text(str(len(clip)))
        clip.note("frames", len(clip))

    def nothing(self, clip, params):
        pass

    def refuse(self, clip, params):
        raise ClipFailed("too dark; light the room")

    def crash(self, clip, params):
        raise ValueError("bad matrix")

    def wait(self, clip, params):
        Path(params["reached"]).touch()
        time.sleep(600)

    def stuck(self, clip, params):
        Path(params["reached"]).touch()
        mutex = ctypes.create_string_buffer(64)
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
        ctypes.CDLL(None).pthread_mutex_lock(mutex)  # never comes back, not even for a signal


class NotOne:
    pass
'''


@dataclass(frozen=True)
class Bench:
    """A video that counts, a runner that reads its numbers, and the job files for both."""

    folder: Path

    def job(self, spans: list[tuple[int, int]] | None, entry: str = "runner:Number", **params: Any) -> Job:
        clips = None if spans is None else tuple(Span(*span) for span in spans)
        video = VideoJob("v", str(self.folder / "v.mp4"), str(self.folder / "out"), clips=clips)
        return Job("detections", str(self.folder), entry, (video,), params=params)

    def start(self, job: Job) -> subprocess.Popen[str]:
        job.write(self.folder / "job.json")
        command = [sys.executable, "-I", "-m", "egoworld_runner", "run", "--job", str(self.folder / "job.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self, job: Job) -> tuple[int, list[dict[str, Any]]]:
        process = self.start(job)
        out, _ = process.communicate(timeout=60)
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    def reports(self) -> dict[str, dict[str, Any]]:
        return {path.parent.name: json.loads(path.read_text()) for path in self.folder.glob("out/*/clip.json")}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    counting(tmp_path / "v.mp4", LENGTH, g="12", bf="2")
    (tmp_path / "runner.py").write_text(RUNNER)
    return Bench(tmp_path)


def test_prints_of_a_model_do_not_break_the_events(bench: Bench) -> None:
    status, events = bench.run(bench.job([(0, 5)]))
    assert status == 0
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        "loaded",
        "start",
        "clip",
        "finished",
    ]
    assert events[-1]["done"] == 1


@pytest.mark.parametrize(
    ("fault", "reason"), [("refuse", "too dark; light the room"), ("crash", "ValueError: bad matrix")]
)
def test_one_bad_clip_does_not_stop_the_batch(bench: Bench, fault: str, reason: str) -> None:
    spans = [(0, 5), (5, 10), (0, 40), (38, 50), (0, 3)]
    status, events = bench.run(bench.job(spans, fault=fault))
    assert status == 0
    states = {event["unit"]: event["state"] for event in events if event["event"] == "clip"}
    ids = [clip_id("v", *span) for span in spans]
    assert [states[name] for name in ids] == ["done", "failed", "done", "failed", "done"]
    reports = bench.reports()
    assert reports[ids[1]]["reason"] == reason
    assert fault in reports[ids[1]]["trace"]
    assert reports[ids[3]]["reason"] == "the clip ends at frame 50, but v.mp4 has 40"
    assert not (bench.folder / "out" / ids[1] / "detections.parquet").exists()
    assert reports[ids[2]]["notes"] == {"frames": 40}
    assert reports[ids[2]]["rows"] == {"detections": 40}


def test_finished_clips_are_not_run_again(bench: Bench) -> None:
    bench.run(bench.job([(0, 5), (5, 10)]))
    before = bench.reports()
    stamps = {path: path.stat().st_mtime_ns for path in bench.folder.glob("out/*/*")}
    _, events = bench.run(bench.job([(0, 5), (5, 10), (10, 15)]))
    assert [event["unit"] for event in events if event["event"] == "clip"] == [clip_id("v", 10, 15)]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert bench.reports().items() >= before.items()


def test_a_leftover_of_a_killed_run_is_not_part_of_the_next_one(bench: Bench) -> None:
    leftover = bench.folder / "out" / f".{clip_id('v', 0, 5)}.partial"
    leftover.mkdir(parents=True)
    (leftover / "half.bin").write_bytes(b"x")
    bench.run(bench.job([(0, 5)]))
    names = {path.name for path in (bench.folder / "out" / clip_id("v", 0, 5)).iterdir()}
    assert names == {"clip.json", "detections.parquet", "frames.txt"}
    assert not leftover.exists()


@pytest.mark.parametrize("fault", ["wait", "stuck"])
def test_sigterm_ends_a_runner_with_nothing_half_written(bench: Bench, fault: str) -> None:
    reached = bench.folder / "reached"
    process = bench.start(bench.job([(0, 5), (5, 10), (10, 15)], fault=fault, reached=str(reached)))
    assert process.stdout is not None
    drain = threading.Thread(target=process.stdout.read)
    drain.start()
    while not reached.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    drain.join()
    process.stdout.close()
    done = clip_id("v", 0, 5)
    assert {path.name for path in (bench.folder / "out").iterdir() if not path.name.startswith(".")} == {done}
    assert pq.read_table(bench.folder / "out" / done / "detections.parquet").num_rows == 5
    bench.run(bench.job([(0, 5), (5, 10), (10, 15)]))
    assert {name for name, report in bench.reports().items() if report["state"] == "done"} == {
        clip_id("v", *span) for span in [(0, 5), (5, 10), (10, 15)]
    }
    assert not [path for path in (bench.folder / "out").iterdir() if path.name.startswith(".")]


def test_a_video_that_cannot_be_read_fails_each_of_its_clips(bench: Bench) -> None:
    (bench.folder / "v.mp4").write_text("no video")
    status, _ = bench.run(bench.job([(0, 5), (5, 10)]))
    assert status == 0
    reports = bench.reports()
    assert len(reports) == 2
    assert all(report["reason"].startswith("v.mp4: not a readable video") for report in reports.values())


@pytest.mark.parametrize(
    ("entry", "reason"),
    [("other:Number", "other.py does not exist"), ("runner:NotOne", "has no Runner 'NotOne'; it has: Number")],
)
def test_a_wrong_entry_is_refused(bench: Bench, entry: str, reason: str) -> None:
    status, events = bench.run(bench.job(None, entry=entry))
    assert status == 2
    assert reason in events[-1]["reason"]
    assert not (bench.folder / "out").exists()


spans = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, LENGTH)).map(lambda s: (s[0], min(LENGTH, s[0] + s[1])))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("shared")
    counting(folder / "v.mp4", LENGTH, g="9", bf="3")
    (folder / "spare.py").write_text(RUNNER)
    return Bench(folder)


@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(spans, min_size=1, max_size=6, unique=True))
def test_every_row_is_of_its_clip_and_of_its_frame(shared: Bench, chosen: list[tuple[int, int]]) -> None:
    """The picture tells which frame it is: a row under a wrong clip or a wrong frame cannot pass."""
    output = Path(tempfile.mkdtemp(dir=shared.folder))
    video = VideoJob("v", str(shared.folder / "v.mp4"), str(output), clips=tuple(Span(*span) for span in chosen))
    null = os.open(os.devnull, os.O_WRONLY)
    job = Job("detections", str(shared.folder), "spare:Number", (video,), params={"loud": False})
    counts = run_job(job, Events(null))
    os.close(null)
    assert counts == {"done": len(chosen), "failed": 0}
    assert {path.name for path in output.iterdir()} == {clip_id("v", *span) for span in chosen}
    for span in chosen:
        rows = pq.read_table(output / clip_id("v", *span) / "detections.parquet").to_pylist()
        assert {row["clip_id"] for row in rows} == {clip_id("v", *span)}
        assert [row["frame"] for row in rows] == [int(row["label"]) for row in rows] == list(range(*span))


def test_a_job_that_is_no_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadJob):
        Job.read(tmp_path)
