"""Folders under the names that people know from elsewhere: DATA_DIR, LOG_DIR and MODELS_DIR beside our own settings.

flags > EGOWORLD_* > these names > egoworld.toml > defaults.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

OTHER_NAMES = {"home": "DATA_DIR", "logs": "LOG_DIR", "model_home": "MODELS_DIR"}
"""By setting. The caches have our name only: EGOWORLD_CACHE."""

PATHS = ("home", "inbox", "cache", "logs", "model_home")
"""Settings that name a folder which a relative path may name, from the folder of egoworld.toml on."""


def given(setting: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The names in an environment that set a setting, the strongest first, with what they say."""
    names = [f"EGOWORLD_{setting.upper()}", OTHER_NAMES.get(setting, "")]
    return {name: environment[name] for name in names if environment.get(name)}


def set_by(setting: str, environment: Mapping[str, str], file: Path) -> str:
    """Which name set a path: a variable, the file, or "default"."""
    for name in given(setting, environment):
        return name
    try:
        return file.name if setting in tomllib.loads(file.read_text(encoding="utf-8")) else "default"
    except (OSError, tomllib.TOMLDecodeError):
        return "default"


class OtherNames(PydanticBaseSettingsSource):
    """The source of settings that reads those names; an empty one counts as not given."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return os.environ.get(OTHER_NAMES.get(field_name, ""), "") or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}
