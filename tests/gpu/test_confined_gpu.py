"""A real NVIDIA GPU: leased by its UUID, passed into the walls around a runner, and into no others.

Needs a GPU and an interpreter with PyTorch for CUDA; EGOWORLD_GPU_PYTHON names it (default: the one of the tests).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from egoworld_resources.errors import LockBusy
from egoworld_resources.gpu import Lease, found_devices, gpus, leased
from egoworld_resources.running.process import Process, Ran, run_job
from egoworld_runner.job import Job, VideoJob

pytestmark = pytest.mark.gpu

PYTHON = Path(os.environ.get("EGOWORLD_GPU_PYTHON", sys.executable))
ASKS = "import torch; print(torch.cuda.is_available())"

RUNNER = '''
"""Says what it sees of GPUs, and computes on one."""

import ctypes
import json
import os
import socket
import time
import uuid
from pathlib import Path

from egoworld_runner import Runner


def by_driver():
    """UUIDs of the devices that the CUDA driver shows, or its error number."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no driver"
    status = cuda.cuInit(0)
    if status:
        return status
    count, found = ctypes.c_int(), []
    cuda.cuDeviceGetCount(ctypes.byref(count))
    for number in range(count.value):
        device, raw = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        cuda.cuDeviceGet(ctypes.byref(device), number)
        cuda.cuDeviceGetUuid_v2(raw, device)
        found.append("GPU-" + str(uuid.UUID(bytes=bytes(raw))))
    return found


def product():
    """A matrix product on the GPU against the same on the CPU, and the device's name."""
    import torch

    if not torch.cuda.is_available():
        return None
    a = torch.arange(4096.0).reshape(64, 64) / 4096
    gap = (a @ a - (a.cuda() @ a.cuda()).cpu()).abs().max().item()
    return [torch.cuda.get_device_name(0), torch.cuda.device_count(), gap]


def reach(host, port):
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


class Looks(Runner):
    def setup(self, weights, device):
        self.device = device

    def run(self, clip, inputs, params):
        seen = {
            "device": self.device,
            "driver": by_driver(),
            "product": product(),
            "nodes": sorted(str(path) for path in Path("/dev").glob("nvidia*")),
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "secret": os.path.exists("/" + params["secret"]),
            "network": reach("127.0.0.1", params["port"]),
        }
        (clip.folder / "seen.json").write_text(json.dumps(seen))
        time.sleep(params["stay_s"])
        return iter(())
'''

LEASER = """
import json, sys
from pathlib import Path
from egoworld_resources.gpu import leased
from egoworld_resources.running.process import Process, run_job
from egoworld_runner.job import Job
given = Path(sys.argv[2])
job = Job.read(given)
with leased(Path(sys.argv[1])) as held:
    process = Process(Path(sys.argv[3]), given.parent / "scratch", held.device.cuda, held.descriptors)
    process.scratch.mkdir()
    run_job(job, process, lambda event: print(json.dumps(event), flush=True))
"""


@pytest.fixture(autouse=True)
def _with_a_gpu() -> None:
    if not found_devices():
        pytest.skip("this machine has no NVIDIA GPU")
    asked = subprocess.run([PYTHON, "-c", ASKS], capture_output=True, text=True, check=False)
    if asked.stdout.strip() != "True":
        pytest.fail(f"{PYTHON} has no PyTorch that sees the GPU: {asked.stdout}{asked.stderr[-500:]}")


def video(path: Path) -> Path:
    """Three frames of 64 x 48 pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def job_in(folder: Path, device: str, stay_s: float = 0.0, port: int = 9) -> Job:
    code = folder / "code"
    code.mkdir(parents=True)
    (code / "looks.py").write_text(RUNNER)
    secret = folder / "secret"
    secret.write_text("nobody else")
    made = VideoJob("v", str(video(folder / "v.mp4")), str(folder / "videos" / "v"))
    params = {"secret": str(secret).removeprefix("/"), "port": port, "stay_s": stay_s}
    return Job("looks", str(code), "looks:Looks", (made,), device=device, params=params)


def ran(folder: Path, job: Job, lease: Lease | None) -> tuple[Ran, dict[str, Any]]:
    scratch = folder / "scratch"
    scratch.mkdir()
    process = Process(PYTHON, scratch, lease.device.cuda, lease.descriptors) if lease else Process(PYTHON, scratch)
    came = run_job(job, process, lambda _: None)
    assert not came.deaths, came.deaths
    (seen,) = Path(job.videos[0].output).rglob("seen.json")
    return came, json.loads(seen.read_text())


def test_every_gpu_has_a_uuid_and_cuda_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    assert [device.uuid for device in found_devices()] == re.findall(r"UUID: (\S+?)\)", listed)
    first = found_devices()[0]
    for name in (first.uuid, first.uuid[:12], str(first.index)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)
        assert [device.uuid for device in gpus()] == [first.uuid]
        with leased(tmp_path) as held:
            assert held.device.cuda == first.uuid


def test_a_leased_gpu_is_inside_the_walls_and_nothing_else_is(tmp_path: Path) -> None:
    with leased(tmp_path / "leases") as held:
        came, seen = ran(tmp_path, job_in(tmp_path, "cuda"), held)
    assert came.isolation, "the manifest says what kept it apart"
    assert (seen["device"], seen["visible"], seen["driver"]) == ("cuda", held.device.uuid, [held.device.uuid])
    name, count, gap = seen["product"]
    assert (name, count) == (held.device.name, 1)
    assert gap < 1e-3
    if "mount" in came.isolation:
        assert (seen["secret"], seen["network"]) == (False, False)


def test_without_a_lease_there_is_no_gpu(tmp_path: Path) -> None:
    came, seen = ran(tmp_path, job_in(tmp_path, "cpu"), None)
    assert (seen["visible"], seen["product"]) == ("", None)
    assert not isinstance(seen["driver"], list) or seen["driver"] == []
    if "mount" in came.isolation:
        assert seen["nodes"] == [], "the nodes of the driver are not even there"


def test_a_gpu_is_taken_until_the_runner_of_a_killed_leaser_is_gone(tmp_path: Path) -> None:
    job = job_in(tmp_path / "job", "cuda", stay_s=600)
    given = tmp_path / "job" / "given.json"
    job.write(given)
    command = [sys.executable, "-c", LEASER, str(tmp_path / "leases"), str(given), str(PYTHON)]
    leaser = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert leaser.stdout is not None
    while '"start"' not in (line := leaser.stdout.readline()):
        assert line, "the runner ended before it began"
    with pytest.raises(LockBusy, match="all GPUs are leased"), leased(tmp_path / "leases"):
        pass
    leaser.send_signal(signal.SIGKILL)
    leaser.wait()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with leased(tmp_path / "leases") as held:
                holders = subprocess.run(
                    ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.split()
                assert held.device.uuid == found_devices()[0].uuid
                assert holders == [], "the next lease finds it empty"
                return
        except LockBusy:
            time.sleep(0.2)
    pytest.fail("the GPU is still leased a minute after its leaser was killed")
