"""Where our folders lie, and which name said so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from egoworld_resources.doctor.finding import Finding, Subject, check, ok, warning
from egoworld_resources.named_paths import PATHS, given, set_by
from egoworld_resources.settings import config_file


@check("names of folders")
def names_of_folders(subject: Subject) -> Iterator[Finding]:
    """Every folder with the variable or file that set it; names that contradict each other, and names of nothing."""
    layout, settings = subject.layout, subject.settings
    folders = {"cache": layout.cache, "logs": layout.logs, "inbox": settings.inbox_folder}
    for setting in PATHS:
        folder = folders.get(setting) or getattr(settings, setting)
        yield ok(setting, f"{folder} ({set_by(setting, os.environ, config_file())})")
        said = given(setting, os.environ)
        if len({Path(path).resolve() for path in said.values()}) > 1:
            (first, path), *others = said.items()
            unused = ", ".join(f"{name}={other}" for name, other in others)
            yield warning(
                setting, f"{first}={path} counts, and not {unused}", f"unset {others[0][0]}, or make both the same"
            )
    known = {name for env in subject.catalog.names for name in _names(subject, env)}
    for name in sorted(set(settings.extra.model_paths) - known):
        yield warning(
            "extra.model_paths", f"{name} is neither an env nor weights that one declares", "correct the name"
        )


def _names(subject: Subject, env: str) -> Iterator[str]:
    yield env
    for model in subject.catalog.env(env).stages.values():
        for weights in model.weights:
            yield from (weights.name, f"{env}/{weights.name}")
