"""Which wheels linux-64 can load: their file names against the tags of Python, platform and glibc (PEP 425, 600)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
"""Older names of manylinux_2_N, by N."""


def wheel_tags(python: str, glibc: str) -> Iterator[Tag]:
    """The tags of wheels that CPython ``python`` ("3.11") loads on x86_64 with ``glibc`` ("2.36"), best first."""
    major, minor = (int(part) for part in python.split("."))
    newest = int(glibc.partition(".")[2])
    platforms = [f"manylinux_2_{old}_x86_64" for old in range(newest, 4, -1)]
    platforms += [f"{name}_x86_64" for old, name in LEGACY.items() if old <= newest] + ["linux_x86_64"]
    yield from cpython_tags((major, minor), platforms=platforms)
    yield from compatible_tags((major, minor), f"cp{major}{minor}", platforms)


def wheel_name(file: dict[str, Any]) -> str:
    """The file name of a wheel of a lock."""
    return str(file.get("name") or (file.get("url") or file["path"]).rpartition("/")[2].replace("%2B", "+"))


def fits(file: dict[str, Any], tags: set[Tag]) -> bool:
    """Whether a wheel of a lock has one of ``tags``."""
    return not tags.isdisjoint(parse_wheel_filename(wheel_name(file))[3])
