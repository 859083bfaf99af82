"""The walk through the code names what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WALK = (REPOSITORY / "resources" / "README.md").read_text(encoding="utf-8")
PACKAGES = {"A": "egoworld_assets", "R": "egoworld_resources"}
NAMED = sorted(set(re.findall(r"`([AR](?:\.\w+)+)`", WALK)))


def test_the_walk_is_short() -> None:
    walk, _, library = WALK.partition("## As a library")
    assert len(walk.splitlines()) + len(library.partition("\n## ")[2].splitlines()) <= 110
    assert len(NAMED) > 30


@pytest.mark.parametrize("name", NAMED)
def test_every_name_of_the_walk_exists(name: str) -> None:
    first, *rest = name.split(".")
    found = importlib.import_module(PACKAGES[first])
    for part in rest:
        inner = f"{found.__name__}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(inner)


def test_every_folder_has_its_row() -> None:
    folders = [path.parent.name for path in (REPOSITORY / "resources" / "egoworld_resources").glob("*/__init__.py")]
    assert [name for name in folders if not re.search(rf"\bR\.{name}[`.]", WALK)] == []
