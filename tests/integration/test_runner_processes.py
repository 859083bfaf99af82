"""What is left of a runner when those above it die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from egoworld_runner.job import Job, VideoJob
from tests.made_up import video

SLEEPER = '''
import subprocess
import sys
import time

from egoworld_runner import Runner


class Sleeper(Runner):
    """Starts processes of its own, one in a session of its own, and never ends."""

    def run(self, clip, inputs, params):
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        subprocess.Popen(sleep)
        subprocess.Popen(sleep, start_new_session=True)
        (clip.folder / "half-written").touch()
        clip.progress(clip.start_frame)
        time.sleep(600)
        yield from ()
'''

SUPERVISE = """
import sys
from pathlib import Path
from egoworld_resources.running.process import Process, run_job
from egoworld_runner.job import Job
scratch = Path(sys.argv[1])
process = Process(Path(sys.executable), scratch)
ran = run_job(Job.read(scratch / "given.json"), process, lambda event: print(event["event"], flush=True))
print("died in", *[unit for _, unit in ran.deaths], flush=True)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that supervises a runner which is in the middle of a clip."""
    (tmp_path / "runner.py").write_text(SLEEPER)
    source = video(tmp_path / "a.mp4")
    job = Job("sleep", str(tmp_path), "runner:Sleeper", (VideoJob("v", str(source), str(tmp_path / "out")),))
    job.write(tmp_path / "given.json")
    child = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert until(lambda: any((tmp_path / "out").glob(".whole.partial/half-written")))
    return child


def until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def below(child: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def kill(supervisor: subprocess.Popen[str], victim: str) -> list[psutil.Process]:
    """Kill one process; returns all that the supervisor had started."""
    everything = below(supervisor)
    runner = next(process for process in everything if process.cmdline()[1:4] == ["-I", "-m", "egoworld_runner"])
    assert len(runner.children()) == 2, "the two that the model started"
    pids = {"supervisor": supervisor.pid, "keeper": everything[0].pid, "runner": runner.pid}
    if victim == "walls":
        pids["walls"] = everything[1].pid
    os.kill(pids[victim], signal.SIGKILL)
    return everything


def sleeping(supervisor: subprocess.Popen[str]) -> int:
    """Processes that the model started."""
    return sum("time.sleep(600)" in " ".join(process.cmdline()) for process in below(supervisor))


@pytest.mark.parametrize("victim", ["supervisor", "keeper", "walls", "runner"])
def test_whoever_is_killed_no_process_of_the_model_survives(
    supervisor: subprocess.Popen[str], tmp_path: Path, victim: str
) -> None:
    first = kill(supervisor, victim)
    assert until(lambda: gone(first))
    if victim != "supervisor":
        assert until(lambda: sleeping(supervisor) == 2), "who is killed from outside gets a second try"
        second = kill(supervisor, victim)
        assert until(lambda: gone(second))
    assert until(lambda: supervisor.poll() is not None)
    assert whole_clips(tmp_path) == []
    assert supervisor.stdout is not None
    lines = supervisor.stdout.read().splitlines()
    assert (lines[-1] == "died in whole") == (victim != "supervisor"), lines
    close(supervisor)


def test_an_interrupted_supervisor_takes_the_whole_group_along(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    everything = below(supervisor)
    os.kill(supervisor.pid, signal.SIGINT)
    assert until(lambda: supervisor.poll() is not None)
    assert gone(everything)
    assert whole_clips(tmp_path) == []
    close(supervisor)


def whole_clips(folder: Path) -> list[str]:
    return [p.name for p in (folder / "out").iterdir() if not p.name.startswith(".")]


def close(supervisor: subprocess.Popen[str]) -> None:
    assert supervisor.stdout is not None
    supervisor.stdout.close()
