"""`egoworld weights scan`: pickles that run code are found by modelscan under whatever name, and are not run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_resources.environments.building.builder import EnvBuilder
from tests.made_models import FILES, write_files

pytestmark = pytest.mark.env


class Evil:
    """Leaves a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def home(tmp_path: Path, repository: Path, builder: EnvBuilder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model home in force; the scanner is built."""
    builder.ensure("modelscan")
    monkeypatch.setenv("EGOWORLD_HOME", str(repository / "data"))
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "models"))
    return tmp_path / "models"


def scanned(*what: str | Path) -> Result:
    """`egoworld weights scan`."""
    return CliRunner().invoke(app, ["weights", "scan", *map(str, what)])


def in_archive(data: bytes) -> bytes:
    """As torch saves it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", b"\0" * 64)
    return file.getvalue()


def test_what_runs_code_is_found_under_any_name_and_not_run(home: Path, tmp_path: Path) -> None:
    evil, good = pickle.dumps(Evil(tmp_path / "ran")), pickle.dumps({"weights": [1.0, 2.0]})
    array = io.BytesIO()
    np.save(array, np.array([Evil(tmp_path / "ran")], dtype=object))
    bad = {
        "raw.bin": evil,
        "model.safetensors": evil,
        "torch.pt": in_archive(evil),
        "objects.npy": array.getvalue(),
        "more.ckpt": good + evil,
        "garbage.pkl": b"\xff\xfe no pickle",
    }
    write_files(home / "tiny", {**FILES, **bad, "good.bin": good, "good.pt": in_archive(good)})
    result = scanned("tiny")
    assert result.exit_code == 1, result.output
    said = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    found = {Path(path).name: text for path, text in said.items()}
    assert found.keys() == {*bad, "good.bin", "good.pt"}
    clean = "no operation that is known to run code"
    assert {name for name, text in found.items() if text == clean} == {"good.bin", "good.pt"}
    assert {name for name, text in found.items() if "posix.system (CRITICAL)" in text} == bad.keys() - {"garbage.pkl"}
    assert not (tmp_path / "ran").exists()
    assert scanned(home / "tiny" / "good.bin", home / "tiny" / "good.pt").exit_code == 0


def test_a_model_without_pickles_starts_nothing(home: Path) -> None:
    write_files(home / "tiny")
    result = scanned("tiny")
    assert (result.exit_code, result.stdout) == (0, "no file that loads as a pickle\n")
    assert "unknown model 'none'; known: tiny" in scanned("none").stderr
