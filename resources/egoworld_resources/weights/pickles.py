"""Pickles are refused but for those that are excepted by their sha256: loading one can run any code."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import BinaryIO

from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.settings import Settings
from egoworld_resources.weights.manifest import WeightsFile, format_of
from egoworld_resources.weights.verify import Difference, Unreadable, open_plain

BEGINNING = re.compile(rb"\x80[\x02-\x05]")
"""How a pickle of protocol 2 and newer begins; older ones are known by their names alone."""
ZIP = b"PK\x03\x04"
NUMPY = b"\x93NUMPY"
HEADER = 512


def excepted(settings: Settings) -> frozenset[str]:
    """SHA-256 of all files that are taken although they load as pickles."""
    policy = Policy.read(settings.project / "envs" / "policy.toml", settings.env_profile)
    return frozenset({*policy.pickles, *settings.weights_pickles})


def pickles(folder: Path, files: Iterable[WeightsFile], exceptions: Collection[str]) -> list[Difference]:
    """Files of a model's folder that load as pickles and are not excepted, by name or by how they begin."""
    found = [file for file in files if file.sha256 not in exceptions]
    return [
        Difference("refused", file.path, reason_of(file.sha256))
        for file in found
        if format_of(file.path) == "pickle" or begins_as_pickle(folder / file.path)
    ]


def reason_of(sha256: str) -> str:
    """Why a pickle is refused, and what to do."""
    return (
        "loads as a pickle, which can run code; take safetensors instead (--exclude leaves files out), "
        "or look through it (egoworld weights scan) and except it by its sha256 "
        f"{sha256} in weights_pickles of egoworld.toml"
    )


def begins_as_pickle(path: Path) -> bool:
    """Whether a file is a pickle, an archive of torch or numpy that holds one, or an array of Python objects."""
    try:
        with open(open_plain(path), "rb") as file:  # noqa: PTH123 a descriptor that follows no link
            beginning = file.read(HEADER)
            if beginning.startswith(ZIP):
                return _holds_pickle(file)
            objects = beginning.startswith(NUMPY) and b"'|O'" in beginning
            return objects or bool(BEGINNING.match(beginning))
    except Unreadable:
        return False


def _holds_pickle(file: BinaryIO) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.endswith((".pkl", ".pickle")):
                    return True
                if name.endswith(".npy") and b"'|O'" in archive.open(name).read(HEADER):
                    return True
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError):
        return True  # what cannot be looked into is not trusted
    return False
