"""One GPU, or one MIG instance of a GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """What one process may hold alone.

    index: of the GPU in PCI order, as nvidia-smi shows it. minor: number of its device file, /dev/nvidia<minor>.
    uuid: of the GPU, or of the MIG instance; "" where only device files are known. parent: UUID of the GPU that an
    instance is part of. instance: its GPU and compute instance ids, "gi/ci".
    """

    index: int
    minor: int
    uuid: str = ""
    name: str = ""
    parent: str = ""
    instance: str = ""

    @property
    def cuda(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it: by its UUID nothing else can be meant."""
        return self.uuid or str(self.index)

    @property
    def old_mig_name(self) -> str:
        """What drivers before 470 call a MIG instance; "" for a whole GPU."""
        return f"MIG-{self.parent}/{self.instance}" if self.parent else ""

    def __str__(self) -> str:
        words = [f"GPU {self.index}", f"MIG {self.instance}" if self.instance else "", self.uuid, self.name]
        return " ".join(word for word in words if word)
