from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from egoworld_resources.leases.scratch import scratch_folder, sweep

HOLD = """
import sys, time
from pathlib import Path
from egoworld_resources.leases.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "masks") as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_folder_is_gone_after_use_and_after_a_fault(tmp_path: Path) -> None:
    try:
        with scratch_folder(tmp_path, "masks") as folder:
            (folder / "file").touch()
            raise RuntimeError("the stage failed")
    except RuntimeError:
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_the_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    folder = Path(child.stdout.readline().strip())
    assert sweep(tmp_path) == []
    assert (folder / "half").is_file()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert sweep(tmp_path) == [folder.name]
    assert not folder.exists()


def test_what_a_runner_nested_or_shut_is_removed_too(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "deep") as folder:
        here = os.open(folder, os.O_RDONLY)
        for _ in range(2500):
            os.mkdir("d", dir_fd=here)
            here, outer = os.open("d", os.O_RDONLY, dir_fd=here), here
            os.close(outer)
        os.close(here)
        (folder / "shut").mkdir()
        (folder / "shut" / "file").touch()
        (folder / "shut").chmod(0)
    assert list(tmp_path.iterdir()) == []
