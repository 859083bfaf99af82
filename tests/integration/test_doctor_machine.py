"""Python, glibc, clock, PyAV, limits and kernel: each check seen to fail on a machine that lacks just that."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from egoworld_resources.doctor.checks.limits import memory_finding
from egoworld_resources.doctor.test_video import round_trip
from made_doctor import elsewhere, findings, one, subject

INFINITE = resource.RLIM_INFINITY

THREADLESS = """
import resource, sys, threading
from pathlib import Path
from made_doctor import subject
from egoworld_resources.doctor import examine
from egoworld_resources.doctor.finding import ok
examined = subject(Path(sys.argv[1]))
threading.stack_size(1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
print(examine(examined, {"a": lambda _: iter([ok("a", "b")])})["a"][0].found)
"""


def test_another_python_than_the_project_wants(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.99"\n')
    version, platform = findings("Python", subject(tmp_path, project=tmp_path))
    assert (version.state, platform.state) == ("fault", "ok")
    assert "wanted is >=3.99" in version.found
    assert findings("Python", subject(tmp_path))[0].state == "ok"


def test_an_older_glibc_than_the_wheels_may_need(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "policy.toml").write_text('glibc = "2.99"\n')
    found = one("glibc", subject(tmp_path, project=tmp_path))
    assert found.state == "fault"
    assert "wheels of the locks may need 2.99" in found.found
    assert one("glibc", subject(tmp_path)).state == "ok"


def test_a_clock_behind_what_was_written(tmp_path: Path) -> None:
    video = tmp_path / "home" / "store" / "artifacts" / "clips" / "a-00000000"
    video.mkdir(parents=True)
    assert one("clock", subject(tmp_path)).state == "ok"
    os.utime(video, (time.time() + 86_400,) * 2)
    found = one("clock", subject(tmp_path))
    assert found.state == "fault"
    assert str(video) in found.found
    assert "timedatectl" in found.fix


def test_pyav_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyav, ffmpeg = findings("video", subject(tmp_path))
    assert (pyav.state, ffmpeg.state) == ("ok", "not needed")
    (tmp_path / "av").mkdir()
    (tmp_path / "av" / "__init__.py").write_text("raise ImportError('libavcodec.so.62: cannot open shared object')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pyav, _ = findings("video", subject(tmp_path))
    assert pyav.state == "fault"
    assert "libavcodec.so.62: cannot open shared object" in pyav.found


def test_pyav_that_crashes_costs_its_check_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pyav, _ = findings("video", subject(tmp_path))
    assert pyav.state == "fault"
    assert "status -11" in pyav.found


def test_an_encoder_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no_such_codec"):
        round_trip("no_such_codec")


@pytest.mark.parametrize(
    ("soft", "hard", "state", "fix"),
    [(128, 4096, "fault", "ulimit -n 1024"), (512, 4096, "warning", "ulimit -n 1024"), (512, 512, "warning", "nofile")],
)
def test_few_open_files(tmp_path: Path, soft: int, hard: int, state: str, fix: str) -> None:
    [found] = elsewhere("open files", tmp_path, limits={resource.RLIMIT_NOFILE: (soft, hard)})
    assert found.state == state
    assert str(soft) in found.found
    assert fix in found.fix


def test_few_processes(tmp_path: Path) -> None:
    found = elsewhere("processes", tmp_path, limits={resource.RLIMIT_NPROC: (10, 10)})[0]
    assert (found.about, found.state) == ("ulimit -u", "fault")


def test_no_thread_for_a_check_is_said(tmp_path: Path) -> None:
    """A check that cannot begin is a fault; root is not bound by RLIMIT_NPROC, so address space runs out instead."""
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", THREADLESS, str(tmp_path)], capture_output=True, text=True, check=False, env=path
    )
    assert "could not begin: can't start new thread" in done.stdout, done.stderr


def test_limits_of_memory_file_size_and_time(tmp_path: Path) -> None:
    limits = {
        resource.RLIMIT_DATA: (8_000_000_000, INFINITE),
        resource.RLIMIT_FSIZE: (1_000_000, INFINITE),
        resource.RLIMIT_CPU: (600, INFINITE),
    }
    found = {finding.about: finding for finding in elsewhere("memory", tmp_path, limits=limits)}
    assert found["ulimit -d"].found == "a process gets 8.0 GB at most"
    assert {name for name, finding in found.items() if finding.state == "warning"} >= {
        "ulimit -d",
        "ulimit -f",
        "ulimit -t",
    }
    assert "ulimit -v" not in found
    assert found["Ray's object store"].state == "not needed"


def test_more_memory_for_a_runner_than_there_is(tmp_path: Path) -> None:
    found = findings("memory", subject(tmp_path, memory_gb=1_000_000))[0]
    assert found.state == "fault"
    assert "a runner may take 1e+06 GB (memory_gb)" in found.found


@pytest.mark.parametrize(
    ("total", "available", "bound", "state"),
    [
        (32, 16, None, "ok"),
        (32, 3, None, "warning"),
        (32, 0.5, None, "fault"),
        (32, 16, 8, "ok"),
        (32, 16, 20, "warning"),
        (32, 16, 40, "fault"),
    ],
)
def test_memory(total: float, available: float, bound: float | None, state: str) -> None:
    assert memory_finding(total, available, bound).state == state


def test_a_kernel_on_which_models_would_outlive_their_step(tmp_path: Path) -> None:
    assert one("ending models", subject(tmp_path)).state == "ok"
    [found] = elsewhere("ending models", tmp_path, refused={"prctl": errno.EPERM})
    assert found.state == "fault"
    assert "outlived its runner" in found.found


def test_what_keeps_runners_and_code_apart_is_said(tmp_path: Path) -> None:
    found = one("sandbox", subject(tmp_path))
    assert "code runs apart by: " in found.found
    assert found.state == ("warning" if "; no " in found.found else "ok")
    [refused] = elsewhere("sandbox", tmp_path, refused={"unshare": errno.EPERM})
    assert refused.state == "warning"
    assert "no mount (unshare of the mount namespace: " in refused.found or os.geteuid() != 0
    assert "its own env is not read-only" in refused.found
    assert "allow user namespaces" in refused.fix
