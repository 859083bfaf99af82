"""`egoworld doctor` as people and programs use it: its exit status, its JSON, its fixes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path


def doctor(
    folder: Path, *arguments: str, before: Callable[[], None] | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with its state below ``folder``; ``before`` runs in the new process."""
    own = {"EGOWORLD_HOME": str(folder / "home"), "EGOWORLD_CONFIG": str(folder / "egoworld.toml")}
    own |= {"UV_CACHE_DIR": str(folder / "cache"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "egoworld_assets.cli", "doctor", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **own, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=before,
    )


def findings_of(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The findings of --json by check and what they are about."""
    assert done.stderr == ""
    listed = json.loads(done.stdout)["findings"]
    assert all(bool(finding["fix"]) == (finding["state"] in ("warning", "fault")) for finding in listed)
    return {(finding["check"], finding["about"]): finding for finding in listed}


def test_a_fresh_machine(folder: Path, uv: Path) -> None:
    done = doctor(folder, "--json", EGOWORLD_UV=str(uv))
    found = findings_of(done)
    assert found["video", "PyAV"]["state"] == "ok"
    assert found["our interpreter", "packages"]["state"] in ("ok", "fault"), "the checkout's .venv may be older"
    assert found["envs", "mediapipe"]["state"] == found["weights", "hand_poses (mediapipe)"]["state"] == "warning"
    for check, about in (("GPU", "devices"), ("NVIDIA driver", "nvidia-smi"), ("torch.cuda", "is_available")):
        assert found[check, about]["state"] == "not needed"
        assert found[check, about]["found"] == "no stage in force uses a GPU"
    faults = [finding for finding in found.values() if finding["state"] == "fault"]
    assert done.returncode == (1 if faults else 0)
    assert json.loads(done.stdout)["state"] == ("fault" if faults else "warning")
    assert not (folder / "home").exists()


def test_faults_are_listed_with_their_fixes(folder: Path) -> None:
    (folder / "egoworld.toml").write_text('memory_gb = 1000000\n[stages]\nclips = "transnt"\n')
    done = doctor(folder, "--free-gb", "1e9")
    assert done.returncode == 1
    assert "fault: memory, memory:" in done.stdout
    assert "  fix: set memory_gb below" in done.stdout
    assert "fault: stages, clips: unknown model env 'transnt'; known: base" in done.stdout
    assert ": bytes:" in done.stdout
    assert "df -h" in done.stdout
    assert done.stderr == ""


def few_open_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


def test_a_fault_of_this_process_is_seen(folder: Path) -> None:
    done = doctor(folder, "--json", before=few_open_files)
    assert findings_of(done)["open files", "ulimit -n"]["state"] == "fault"
    assert done.returncode == 1


def on_a_gpu(folder: Path) -> None:
    """An env of a stranger that serves clips on a GPU, chosen by the configuration."""
    env = folder / "more" / "envs" / "on_gpu"
    env.mkdir(parents=True)
    (env / "runner.py").write_text("class Model:\n    pass\n")
    (env / "pyproject.toml").write_text(
        '[project]\nname = "egoworld-on-gpu"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = []\n'
        '[tool.egoworld]\ninterpreter = "env"\n[tool.egoworld.stages.clips]\nrunner = "runner:Model"\n'
        'device = "cuda"\nlicence = "MIT"\n'
    )
    (folder / "egoworld.toml").write_text(f'extra_envs = ["{env.parent}"]\n[stages]\nclips = "on_gpu"\n')


def test_a_driver_that_hangs_does_not_hang_the_doctor(folder: Path) -> None:
    on_a_gpu(folder)
    script = folder / "bin" / "nvidia-smi"
    script.write_text("#!/bin/sh\ntrap '' TERM\nsleep 600 & sleep 600\n")
    script.chmod(0o755)
    done = doctor(folder, "--json", "--seconds", "8", CUDA_VISIBLE_DEVICES="")
    found = findings_of(done)
    assert done.returncode == 1
    assert found["NVIDIA driver", "nvidia-smi"]["found"] == "did not answer in time and was ended"
    assert found["GPU", "devices"]["state"] == "fault"
    assert found["locks", "on_gpu"]["fix"] == "make lock ENV=on_gpu"


def test_a_wrong_configuration_is_one_clear_line(folder: Path) -> None:
    (folder / "egoworld.toml").write_text("hoem = 1\n")
    done = doctor(folder)
    assert done.returncode == 1
    assert "hoem" in done.stderr
    assert "Traceback" not in done.stderr
