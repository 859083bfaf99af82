"""Attacks on leases of GPUs: one device to two, or the wrong one, by every name that CUDA has for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.made_nvml import MadeNvml, made_nvml

A, B = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8931a0c2-0d5e-9a35-7a3c-5f1d0c3b9e77"
HALF, REST = "MIG-4f7d1a90-5d5d-5b6e-9f3e-2f6d54a0a111", "MIG-91c0b1d2-77aa-5f0f-b7f5-f6a8a2cb0222"
ONE, TWO = f"gpu 0 {A} -1 NVIDIA H100", f"gpu 1 {B} -1 NVIDIA H100"
SPLIT = [
    f"gpu 0 {A} 1 NVIDIA H100",
    f"mig 1 0 {HALF} NVIDIA H100 MIG 3g.40gb",
    f"mig 2 0 {REST} NVIDIA H100 MIG 3g.40gb",
]

HOLD = """
import json, os, sys
from pathlib import Path
from egoworld_resources.errors import EgoworldError
from egoworld_resources.gpu import leased
try:
    with leased(Path(sys.argv[1])) as held:
        print(json.dumps([held.device.cuda, ""]), flush=True)
        sys.stdin.read()
except EgoworldError as error:
    print(json.dumps(["", f"{type(error).__name__}: {error}"]), flush=True)
"""
REFUSED = """
import json, os, sys
from pathlib import Path
from egoworld_resources.gpu import NoGpu, leased
said = {}
for name in json.loads(os.environ["NAMES"]):
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    try:
        with leased(Path(sys.argv[1])) as held:
            said[name] = held.device.cuda
    except NoGpu as error:
        said[name] = str(error)
print(json.dumps(said), flush=True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> MadeNvml:
    return made_nvml(tmp_path_factory.mktemp("nvml"))


class Machine:
    """Processes that each lease a GPU, with a CUDA_VISIBLE_DEVICES of their own."""

    def __init__(self, library: MadeNvml, folder: Path, stack: ExitStack) -> None:
        self.library, self.folder, self._stack = library, folder, stack

    def has(self, *lines: str) -> None:
        self.library.says(*lines)

    def run(self, program: str, place: Path, **environment: str) -> str:
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(place)],
            env=self.library.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(child.__exit__, None, None, None)
        self._stack.callback(child.kill)
        assert child.stdout
        return child.stdout.readline()

    def leases(self, visible: str | None = None, **more: str) -> str:
        """What a further process is given, for as long as this machine lives; or why it gets nothing."""
        environment = {**more, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})}
        given, why = json.loads(self.run(HOLD, self.folder, **environment))
        return given or why


@pytest.fixture
def machine(library: MadeNvml, tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(library, tmp_path, stack)


def test_other_numbers_for_the_same_gpu(machine: Machine) -> None:
    """One GPU, numbered 0 here and 1 there: as in a container, or after a card was put in."""
    machine.has(TWO)
    assert machine.leases() == B
    machine.has(ONE, TWO)
    assert machine.leases("1").startswith("LockBusy"), "the same card by another number"
    assert machine.leases() == A


def test_every_name_of_one_gpu(machine: Machine) -> None:
    """By number, UUID, the beginning of its UUID, and no variable at all: each again the same GPU."""
    machine.has(ONE)
    assert machine.leases(A) == A
    for name in ("0", "GPU-8932", f"{A},{A}", f"GPU-8932f937,0,{A}", None):
        assert machine.leases(name).startswith("LockBusy"), name


NAMES_NONE = {
    "": "is set and empty: it hides every GPU",
    "-1": "-1 hides every GPU from there on",
    "NoDevFiles": "NoDevFiles hides every GPU",
    "GPU-893": "GPU-893 is the beginning of several UUIDs",
    "GPU-ffff": "there is no GPU-ffff",
    "2,0": "there is no GPU 2; CUDA stops there, so 0 is hidden too",
    "gpu0": "'gpu0' is neither a number nor a UUID",
    "1e0,1": "'1e0' is neither a number nor a UUID",
    f"MIG-{A}/1/0": f"there is no MIG-{A}/1/0",
}


def test_what_names_no_gpu(machine: Machine) -> None:
    """CUDA_VISIBLE_DEVICES that names no GPU: empty, -1, NoDevFiles, unknown, ambiguous or misspelt."""
    machine.has(ONE, TWO)
    found = json.loads(machine.run(REFUSED, machine.folder, NAMES=json.dumps(list(NAMES_NONE))))
    for given, message in NAMES_NONE.items():
        assert found[given].startswith("this model env declares device = 'cuda', but CUDA_VISIBLE_DEVICES"), given
        assert message in found[given]


def test_what_comes_behind_an_invalid_entry(machine: Machine) -> None:
    """Two GPUs, the second behind an entry that names none: CUDA does not see it, so it is not leased."""
    machine.has(ONE, TWO)
    assert machine.leases("0,-1,1") == A
    assert machine.leases("0,-1,1").startswith("LockBusy")


def test_the_fastest_first(machine: Machine) -> None:
    """GPU 0 is the small one to nvidia-smi and the big one to CUDA; somebody says 0."""
    machine.has(f"gpu 0 {A} -1 NVIDIA T400", TWO)
    assert "another GPU to CUDA" in machine.leases("0")
    assert machine.leases("1", CUDA_DEVICE_ORDER="PCI_BUS_ID") == B
    assert machine.leases(A) == A


def test_instances_of_a_split_gpu(machine: Machine) -> None:
    """Two MIG instances, by new and old names, by their GPU, and a whole GPU beside them."""
    machine.has(*SPLIT, TWO)
    assert machine.leases(f"MIG-{A}/1/0") == HALF, "the name that drivers had before 470"
    assert machine.leases("MIG-4f7d1a90").startswith("LockBusy")
    assert machine.leases("0") == REST
    assert machine.leases(A).startswith("LockBusy")
    assert machine.leases() == B
    assert machine.leases().startswith("LockBusy")


def test_a_gpu_is_split_while_somebody_has_it(machine: Machine) -> None:
    """A GPU is leased whole, then appears as two MIG instances."""
    machine.has(ONE)
    assert machine.leases() == A
    machine.has(*SPLIT)
    assert machine.leases().startswith("LockBusy"), "a part of what is held whole"


def test_it_is_made_one_while_somebody_has_a_part(machine: Machine) -> None:
    """A MIG instance is leased; its GPU appears whole."""
    machine.has(*SPLIT)
    assert machine.leases() == HALF
    machine.has(ONE)
    assert machine.leases().startswith("LockBusy"), "the whole of what is held in part"


def test_a_driver_that_does_not_answer(machine: Machine) -> None:
    """Driver and library of two versions, as after an upgrade without a restart."""
    machine.has("error 18")
    assert machine.leases().startswith("NvmlFailed: NVIDIA's driver does not answer")
    machine.has("error 9")
    assert "NVIDIA's driver does not answer" not in machine.leases(), "no driver at all: the device files tell"
