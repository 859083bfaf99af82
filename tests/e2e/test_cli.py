"""The command line as people and programs use it: real processes, no model env."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made_up import video


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data"


def egoworld(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with its state below ``home``."""
    environment = {**os.environ, "EGOWORLD_HOME": str(home), "EGOWORLD_CONFIG": str(home / "none.toml")}
    command = [sys.executable, "-m", "egoworld_assets.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_ingest_status_and_names(home: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first = video(tmp_path / "in" / "a.mp4")
    copy = tmp_path / "in" / "copy.mp4"
    copy.write_bytes(first.read_bytes())
    (tmp_path / "in" / "empty.mp4").touch()
    done = egoworld(home, "ingest", str(tmp_path / "in"))
    assert done.returncode == 1, "one file was refused"
    assert "a.mp4: new" in done.stdout
    assert "copy.mp4: duplicate (same bytes as" in done.stdout
    assert "'empty.mp4' is empty" in done.stdout
    status = json.loads(egoworld(home, "status", "--json").stdout)
    states = {entry["asset"]: entry["state"] for entry in status["assets"]}
    assert (states["videos"], states["clips"], states["episodes"]) == ("missing", "blocked", "blocked")
    assert len(status["duplicates"]) == 1


def test_what_egoworld_wrote_is_not_taken_for_new_videos(home: Path, tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    for folder in (home / "store", tmp_path / ".venv"):
        folder.mkdir(parents=True)
        video(folder / "not-this.mp4", shots=(8, 9))
    done = egoworld(home, "ingest", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "a.mp4: new" in done.stdout
    assert "not-this" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ingest",), "no video given"),
        (("ingest", "nowhere.mp4"), "no video at 'nowhere.mp4'"),
        (("lineage", "masks"), "give VIDEO/ASSET"),
        (("lineage", "x/masks"), "unknown video 'x'; known: none"),
        (("view", "x"), "unknown video 'x'"),
        (("refresh", "x"), "unknown video 'x'"),
    ],
)
def test_a_mistake_is_one_clear_line(home: Path, arguments: tuple[str, ...], message: str) -> None:
    done = egoworld(home, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = egoworld(home, "ui", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
