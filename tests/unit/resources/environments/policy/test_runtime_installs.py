"""Code that installs at run time is found, prose about it and other commands are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.environments.policy.runtime_installs import installations


@pytest.mark.parametrize(
    "code",
    [
        'subprocess.run([sys.executable, "-m", "pip", "install", "tiny"])',
        'subprocess.run(["uv", "pip", "install", "tiny"], check=True)',
        'subprocess.check_call(("conda", "install", "-y", "tiny"))',
        'os.system("pip3 install tiny")',
        'os.system(f"uv add {name}")',
        'os.system("apt-get -qq install tiny")',
        'COMMAND = "uv sync --frozen"',
        "import pip",
        "from pip._internal import main",
        'torch.hub.load("owner/project", "model")',
    ],
)
def test_what_installs_is_found_with_its_line(tmp_path: Path, code: str) -> None:
    file = tmp_path / "runner.py"
    file.write_text(f'"""A runner."""\n\n{code}\n')
    ((where, breach),) = installations(tmp_path)
    assert (where, breach.rule) == (file, "run time")
    assert breach.found.startswith("line 3 installs at run time (")


@pytest.mark.parametrize(
    "code",
    [
        '"""pip install tiny is never run here."""',
        "# pip install tiny",
        'subprocess.run(["ffmpeg", "-i", "in.mp4", "pip.mp4"])',
        'torch.hub.load(folder, "model", source="local")',
        'print("the pipe is installed")',
        "import pipes_of_ours",
        'subprocess.run(["conda", "run", "-n", "x", "python"])',
    ],
)
def test_what_does_not_install_is_left_alone(tmp_path: Path, code: str) -> None:
    (tmp_path / "runner.py").write_text(f"{code}\n")
    assert list(installations(tmp_path)) == []


def test_scripts_are_read_too_and_caches_are_not(tmp_path: Path) -> None:
    (tmp_path / "prepare.sh").write_text("#!/bin/sh\n# pip install nothing\npip install tiny\n")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "old.py").write_text("import pip\n")
    assert [breach.found for _, breach in installations(tmp_path)] == ["line 3 installs at run time (pip install)"]


def test_code_that_cannot_be_parsed_is_no_silent_pass(tmp_path: Path) -> None:
    (tmp_path / "runner.py").write_text("x = 1\ndef (:\n")
    ((_, breach),) = installations(tmp_path)
    assert "line 2" in breach.found
    assert "cannot be parsed" in breach.found
