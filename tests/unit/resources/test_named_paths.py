"""Folders under several names: which counts, and what becomes of relative ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from egoworld_resources.environments.declaration import Weights
from egoworld_resources.named_paths import set_by
from egoworld_resources.settings import Settings, config_file
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights

ALSO = {"home": "DATA_DIR", "logs": "LOG_DIR", "model_home": "MODELS_DIR"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an egoworld.toml; the working directory is another."""
    for name in ALSO.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EGOWORLD_CONFIG", str(tmp_path / "egoworld.toml"))
    (tmp_path / "egoworld.toml").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.mark.parametrize("setting", ["home", "logs", "model_home"])
def test_flags_beat_our_name_beats_the_other_beats_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    def found() -> tuple[Path, str]:
        return getattr(Settings.load(), setting), set_by(setting, os.environ, config_file())

    (project / "egoworld.toml").write_text(f'{setting} = "by-file"\n')
    assert found() == (project / "by-file", "egoworld.toml")
    monkeypatch.setenv(ALSO[setting], "by-the-other-name")
    assert found() == (project / "by-the-other-name", ALSO[setting])
    monkeypatch.setenv(f"EGOWORLD_{setting.upper()}", "by-ours")
    assert found() == (project / "by-ours", f"EGOWORLD_{setting.upper()}")
    assert getattr(Settings.load(**{setting: Path("by-flag")}), setting) == project / "by-flag"


def test_an_empty_name_counts_as_not_given(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "")
    assert Settings.load().home == project / "data"


def test_caches_and_logs_lie_below_home_unless_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Settings.load().layout
    assert (layout.cache, layout.logs) == (project / "data" / "cache", project / "data" / "logs")
    monkeypatch.setenv("EGOWORLD_CACHE", "cache")
    monkeypatch.setenv("LOG_DIR", "/var/log/egoworld")
    layout = Settings.load().layout
    assert (layout.cache, layout.logs) == (project / "cache", Path("/var/log/egoworld"))


def test_weights_lie_where_the_configuration_says(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = Weights(
        name="net", path="net/w.bin", package=None, sha256=hashlib.sha256(b"net").hexdigest(), licence="MIT"
    )

    def found() -> Path:
        paths = ModelPaths.of(Settings.load())
        return local_weights([declared], Path("python"), paths=paths, env="hands")["net"]

    for place in ("models/net/w.bin", "other/net/w.bin", "special.bin"):
        (project / place).parent.mkdir(parents=True, exist_ok=True)
        (project / place).write_bytes(b"net")
    assert found() == project / "models/net/w.bin"
    monkeypatch.setenv("MODELS_DIR", "other")
    assert found() == project / "other/net/w.bin"
    for name, path in (("hands", "models"), ("net", "special.bin"), ("hands/net", "special.bin")):
        (project / "egoworld.toml").write_text(f'[extra.model_paths]\n"{name}" = "{path}"\n')
        assert found() == (project / "special.bin" if "net" in name else project / "models/net/w.bin")
    (project / "special.bin").write_bytes(b"other")
    with pytest.raises(WeightsMissing, match="declared is"):
        found()
    (project / "special.bin").unlink()
    with pytest.raises(WeightsMissing, match=r"does not exist \(extra.model_paths\)"):
        found()
