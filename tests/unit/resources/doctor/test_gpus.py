"""GPU, driver and PyTorch: not judged without a model that needs them, and seen to fail with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.doctor import Finding, Subject
from egoworld_resources.doctor.checks.gpu import cuda_of
from egoworld_resources.environments.building.builder import EnvBuilder
from made_doctor import executable, findings, one, subject
from made_envs import made_catalog, made_env, made_lock, made_wheel

TORCH = "class version:\n    cuda = '12.4'\nclass cuda:\n    {}\n"
SEES = "is_available, device_count = staticmethod(lambda: True), staticmethod(lambda: 2)"
BLIND = "is_available, device_count = staticmethod(lambda: False), staticmethod(lambda: 0)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one env on a GPU and one on the CPU."""
    made_env(tmp_path, "on_cpu", stage="tracks")
    pyproject = made_env(tmp_path, "on_gpu") / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('device = "cpu"', 'device = "cuda"'))
    locked(tmp_path, "2.6.0+cu124", TORCH.format(SEES))
    return tmp_path


def locked(folder: Path, version: str, source: str) -> None:
    made_lock(folder, "on_gpu", [made_wheel(folder / "wheels", "torch", version, {"torch.py": source})])


def with_gpu(project: Path, seconds: float = 60.0) -> Subject:
    return subject(project, {"clips": "on_gpu", "tracks": "on_cpu"}, project=project, seconds=seconds)


def nvidia_smi(project: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a nvidia-smi of our own before all others."""
    executable(project / "bin" / "nvidia-smi", script)
    monkeypatch.setenv("PATH", f"{project / 'bin'}:/usr/bin:/bin")


@pytest.mark.parametrize("title", ["GPU", "NVIDIA driver", "torch.cuda"])
def test_nothing_on_a_gpu_is_not_needed_and_not_passed(project: Path, title: str) -> None:
    found = one(title, subject(project, {"tracks": "on_cpu"}, project=project))
    assert (found.state, found.found) == ("not needed", "no stage in force uses a GPU")


def test_no_gpu_where_one_is_needed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = one("GPU", with_gpu(project))
    assert found.state == "fault"
    assert "on_gpu runs on a GPU" in found.found


def test_no_driver(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    found = one("NVIDIA driver", with_gpu(project))
    assert (found.state, found.found) == ("fault", "not on PATH")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sleep 600 & wait", "did not answer in time and was ended"),
        ("echo 'NVIDIA-SMI has failed: no communication with the driver'; exit 9", "status 9: NVIDIA-SMI has failed"),
        ("echo No devices were found", "printed 'No devices were found'"),
        ("true", "printed 'it said nothing'"),
    ],
)
def test_a_driver_that_hangs_or_fails(
    project: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    nvidia_smi(project, monkeypatch, script)
    found = one("NVIDIA driver", with_gpu(project, seconds=3.0 if "sleep" in script else 60.0))
    assert found.state == "fault"
    assert message in found.found


def driver(project: Path) -> tuple[Finding, Finding]:
    program, fits = findings("NVIDIA driver", with_gpu(project))
    return program, fits


def test_the_driver_against_the_cuda_of_the_lock(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, "echo 550.54.15, NVIDIA H100 80GB HBM3")
    program, fits = driver(project)
    assert (program.state, fits.state) == ("ok", "ok")
    assert program.found == "driver 550.54.15, NVIDIA H100 80GB HBM3"
    locked(project, "2.9.0+cu130", TORCH.format(SEES))
    _, fits = driver(project)
    assert (fits.state, fits.found) == ("fault", "its lock has CUDA 13, which needs driver 580; this is 550.54.15")
    locked(project, "2.9.0+cu990", TORCH.format(SEES))
    assert driver(project)[1].state == "warning"
    locked(project, "2.9.0", TORCH.format(SEES))
    assert driver(project)[1].found == "its lock names no CUDA"


def test_an_old_driver(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, "echo 470.199.02, Tesla T4")
    program, fits = driver(project)
    assert (program.state, fits.state) == ("ok", "fault")
    assert "upgrade NVIDIA's driver to 525" in fits.fix


def test_the_cuda_of_a_lock() -> None:
    assert cuda_of({"torch": "2.10.0", "nvidia-cuda-runtime-cu12": "12.8.90"}) == 12
    assert cuda_of({"torch": "2.10.0", "nvidia-cuda-runtime": "13.0.48"}) == 13
    assert cuda_of({"torch": "2.4.1+cu118"}) == 11
    assert cuda_of({"torch": "2.4.1+cpu"}) is None
    assert cuda_of({"numpy": "2.0"}) is None


@pytest.mark.parametrize(
    ("source", "state", "message"),
    [
        (TORCH.format(SEES), "ok", "2 GPU, CUDA 12.4"),
        (TORCH.format(BLIND), "fault", "torch.cuda.is_available() is False"),
        ("raise ImportError('libcudart.so.12: cannot open shared object file')\n", "fault", "libcudart.so.12"),
    ],
    ids=["sees", "blind", "broken"],
)
def test_pytorch_is_asked_in_its_own_env(project: Path, uv: Path, source: str, state: str, message: str) -> None:
    locked(project, "2.6.0+cu124", source)
    assert one("torch.cuda", with_gpu(project)).state == "warning", "not built yet"
    EnvBuilder(project / "home" / "envs", made_catalog(project), uv, project / "cache").ensure("on_gpu")
    found = one("torch.cuda", with_gpu(project))
    assert (found.state, message in found.found) == (state, True), found


def test_an_env_on_a_gpu_without_pytorch(project: Path) -> None:
    made_lock(project, "on_gpu", [])
    assert one("torch.cuda", with_gpu(project)).state == "not needed"
