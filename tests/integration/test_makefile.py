"""The Makefile: what it passes on, and what it says on a system that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECORDER = """#!{python}
import sys
print(*(f"<{{word}}>" for word in sys.argv[1:]))
"""

LACKING = """#!{python}
import ctypes, importlib.util, sys

real, find = ctypes.CDLL, importlib.util.find_spec


def lacking(name, *rest):
    if name in {libraries}:
        raise OSError(name)
    return real(name, *rest)


ctypes.CDLL = lacking
importlib.util.find_spec = lambda name: None if name in {modules} else find(name)
program = sys.argv[2]
sys.argv[1:3] = []
exec(program)
"""


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    """The Makefile alone, beside an `egoworld` that says what it was called with."""
    folder = tmp_path / "check out"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(repository / "Makefile", folder)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    program(folder / ".venv" / "bin" / "egoworld", RECORDER.format(python=sys.executable))
    for name in ("a.mp4", "b c.mp4", "films/d.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def program(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o755)
    return file


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "VIDEO"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=outer, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("video", "words"),
    [
        ("", ""),
        ("a.mp4", "<a.mp4>"),
        ("b c.mp4", "<b c.mp4>"),
        ("a.mp4 'b c.mp4' films", "<a.mp4> <b c.mp4> <films>"),
        ("*.mp4", "<*.mp4>"),
        ("films/*.mp4 a.mp4", "<films/*.mp4> <a.mp4>"),
        ("not there.mp4", "<not> <there.mp4>"),
    ],
)
def test_demo_passes_videos_on(checkout: Path, video: str, words: str) -> None:
    done = make(checkout, "-o", ".venv/.ready", "demo", f"VIDEO={video}")
    assert done.stdout.strip() == f"<demo> {words}".strip(), done.stderr


def test_help_lists_every_command(checkout: Path) -> None:
    listed = make(checkout).stdout
    for command in ("setup", "demo", "test", "check", "ui", "lock", "fmt", "clean", "help"):
        assert f"make {command} " in listed


def test_what_the_system_lacks_is_one_line(checkout: Path, tmp_path: Path) -> None:
    libraries, modules = ("libz.so.1", "libudev.so.1"), ("ensurepip",)
    text = LACKING.format(python=sys.executable, libraries=libraries, modules=modules)
    python = program(tmp_path / "python3", text)
    done = make(checkout, "missing-packages", f"PYTHON3={python}")
    assert done.stdout.strip() == "zlib1g libudev1 python3-venv"
    (checkout / "locks").mkdir()
    (checkout / "locks" / "uv.txt").touch()
    stopped = make(checkout, ".tools/.ready", f"PYTHON3={python}")
    assert stopped.returncode != 0
    assert "sudo apt-get install -y zlib1g libudev1 python3-venv\n" in stopped.stderr
    assert not (checkout / ".tools").exists()


def test_this_system_lacks_nothing(checkout: Path) -> None:
    done = make(checkout, "missing-packages", f"PYTHON3={sys.executable}")
    assert (done.stdout.strip(), done.returncode) == ("", 0)


def test_lock_asks_for_the_env(checkout: Path) -> None:
    (checkout / "envs" / "tiny").mkdir(parents=True)
    (checkout / "envs" / "tiny" / "pyproject.toml").touch()
    done = make(checkout, "-o", ".venv/.ready", "lock")
    assert done.returncode != 0
    assert "make lock ENV=tiny" in done.stderr
