"""The phase of an env, and what the driver gate says of machines with and without a driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.environments.policy.drivers import cuda_version, host_driver
from egoworld_resources.environments.policy.phase import Host, Phase, phases
from made_envs import made_catalog, made_env, made_lock, made_wheel, sealed

PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 UTC 2023\nGCC version:\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs)  Sun Jul 27\n"


@pytest.mark.parametrize(("text", "version"), [(PROPRIETARY, "535.54.03"), (OPEN, "580.65.06")])
def test_the_driver_is_what_the_kernel_says(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / "version").write_text(text)
    assert host_driver(tmp_path / "version") == version


def program(folder: Path, name: str, body: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_nvidia_smi_is_asked_where_the_kernel_does_not_say(tmp_path: Path) -> None:
    program(tmp_path / "bin", "nvidia-smi", "echo 550.90.07")
    assert host_driver(tmp_path / "none", str(tmp_path / "bin")) == "550.90.07"
    program(tmp_path / "bin", "nvidia-smi", "echo NVIDIA-SMI has failed; exit 9")
    assert host_driver(tmp_path / "none", str(tmp_path / "bin")) == ""
    assert host_driver(tmp_path / "none", str(tmp_path / "empty")) == ""


def test_this_machine_is_reported(tmp_path: Path) -> None:
    bare = Host.of_this_machine(tmp_path / "none", str(tmp_path / "bin"))
    assert bare.summary() == "no NVIDIA driver on this machine; container runtime: none"
    for name in ("podman", "nvidia-ctk"):
        program(tmp_path / "bin", name)
    (tmp_path / "version").write_text(OPEN)
    server = Host.of_this_machine(tmp_path / "version", str(tmp_path / "bin"))
    assert server == Host("580.65.06", ("podman",), toolkit=True)
    assert server.summary() == "NVIDIA driver 580.65.06; container runtime: podman"


def found(folder: Path, host: Host, cuda: str = "") -> Phase:
    made_env(folder, "cuts")
    wheels = [("nvidia_cuda_runtime_cu12", cuda)] if cuda else [("tiny", "1.0")]
    made_lock(folder, "cuts", [made_wheel(folder / "wheels", name, version, {}) for name, version in wheels])
    path = folder / "locks" / "pylock.cuts.toml"
    path.write_text(path.read_text().replace("nvidia_cuda_runtime_cu12", "nvidia-cuda-runtime-cu12", 1))
    sealed(path)
    (phase,) = phases(made_catalog(folder), ["cuts"], host)
    return phase


@pytest.mark.parametrize(
    ("host", "cuda", "lacks"),
    [
        (Host("580.1", ("podman",), toolkit=True), "12.8.90", []),
        (Host("525", ("docker",), toolkit=True), "12.8.90", []),
        (Host("520.1", ("podman",), toolkit=True), "12.8.90", ["driver 520.1 is older than 525"]),
        (
            Host("", ("podman",), toolkit=True),
            "12.8.90",
            ["no NVIDIA driver on this machine; CUDA 12.8.90 needs 525"],
        ),
        (Host("580.1", (), toolkit=False), "12.8.90", ["no NVIDIA container toolkit", "no container runtime"]),
        (Host("999", ("podman",), toolkit=True), "99.1", ["which driver CUDA 99.1 needs is not known here"]),
        (Host("", ("podman",), toolkit=False), "", []),
    ],
)
def test_what_an_image_waits_for(tmp_path: Path, host: Host, cuda: str, lacks: list[str]) -> None:
    phase = found(tmp_path, host, cuda)
    assert (phase.phase, phase.why) == ("B", "its own env, as a subprocess")
    assert [one.startswith(expected) for one, expected in zip(phase.lacks, lacks, strict=True)] == [True] * len(lacks)


def test_our_own_interpreter_is_phase_a_and_a_lock_that_is_missing_is_said(tmp_path: Path) -> None:
    made_env(tmp_path, "cuts", interpreter="base")
    made_env(tmp_path, "hands")
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.11"\ndependencies = []\n')
    (tmp_path / "locks").mkdir()
    host = Host("", (), toolkit=False)
    first, second = phases(made_catalog(tmp_path), ["cuts", "hands"], host)
    assert (first.phase, second.phase) == ("A", "B")
    assert "make lock ENV=base" in first.lacks[0]
    assert "make lock ENV=hands" in second.lacks[0]


def test_the_cuda_of_a_lock() -> None:
    assert cuda_version({"torch": "2.10.0", "nvidia-cuda-runtime": "13.0.48"}) == "13.0.48"
    assert cuda_version({"torch": "2.4.1+cu118"}) == "11.8"
    assert cuda_version({"torch": "2.4.1+cpu", "numpy": "2.0"}) == ""
