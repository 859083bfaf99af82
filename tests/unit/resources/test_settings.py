from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.settings import Settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EGOWORLD_HOME", "EGOWORLD_BATCH"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "egoworld.toml"
    monkeypatch.setenv("EGOWORLD_CONFIG", str(path))
    return path


def test_flags_beat_environment_beat_file_beat_defaults(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().batch == 32
    config.write_text("batch = 2")
    assert Settings.load().batch == 2
    monkeypatch.setenv("EGOWORLD_BATCH", "3")
    assert Settings.load().batch == 3
    assert Settings.load(batch=4).batch == 4


def test_the_home_folder_is_relative_to_the_file(config: Path) -> None:
    config.write_text('home = "state"')
    assert Settings.load().home == config.parent / "state"


def test_env_and_parameters_of_a_stage(config: Path) -> None:
    config.write_text('[stages]\nclips = "transnet"\n[params.clips]\nthreshold = 0.4\n')
    settings = Settings.load()
    assert (settings.stages, settings.params) == ({"clips": "transnet"}, {"clips": {"threshold": 0.4}})


@pytest.mark.parametrize("text", ["colour = 1", "batch = 0", "batch = ["])
def test_a_wrong_setting_names_the_file_and_the_setting(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(BadConfiguration, match=r"egoworld\.toml"):
        Settings.load()
