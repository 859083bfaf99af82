"""Folders in which venvs are made before they are renamed: the same few paths again and again.

uv asks an interpreter at a path that it has not seen about itself, which takes as long as installing numpy and pandas;
of one that it knows it keeps the answer. So a venv is made at such a path, relocatable, and then moved to its place.

<root>/.making/<n>/             a venv on its way
<root>/.making/<n>.lock         one at a time
<root>/.making/bare-<digest>/   an empty venv of one interpreter, copied and never changed
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from egoworld_resources.environments.errors import EnvBuildFailed
from egoworld_resources.errors import LockBusy
from egoworld_resources.leases.locks import locked

FOLDER = ".making"


@dataclass(frozen=True)
class Slot:
    """A place below the root that is ours alone. held: descriptor of its lock, for what writes into it to inherit."""

    path: Path
    held: int

    def fill(self, digest: str, make: Callable[[Path], None]) -> None:
        """Put an empty venv here: a copy of what ``make`` once made for ``digest``. Raises EnvBuildFailed."""
        bare = self.path.with_name(f"bare-{digest}")
        if not bare.is_dir():
            make(self.path)
            with suppress(OSError):  # another one was faster
                self.path.rename(bare)
            shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            shutil.copytree(bare, self.path, symlinks=True, copy_function=shutil.copy)
        except OSError as error:
            raise EnvBuildFailed(f"an empty venv could not be copied to {self.path}: {error}") from error


@contextmanager
def free_slot(root: Path) -> Generator[Slot]:
    """The first place that nobody works at, emptied of what a crash left, and again of what is left behind."""
    with ExitStack() as stack:
        slot = _first_free(root / FOLDER, stack)
        shutil.rmtree(slot.path, ignore_errors=True)
        stack.callback(shutil.rmtree, slot.path, ignore_errors=True)
        yield slot


def _first_free(folder: Path, stack: ExitStack) -> Slot:
    for number in count():
        path = folder / str(number)
        with suppress(LockBusy):
            return Slot(path, stack.enter_context(locked(path.with_suffix(".lock"), 0)))
    raise AssertionError("numbers have no end")
