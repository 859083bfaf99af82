"""kit.json: what a kit holds, file by file, and what it was made from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any, cast

from egoworld_resources.kit.receiver.refused import KitRefused

MANIFEST = "kit.json"
SIGNATURE = "kit.sig.json"
FORMAT = 1
SHA256 = re.compile(r"^[0-9a-f]{64}$")
NAME = re.compile(r"^[^/\\\0\x01-\x1f]+(/[^/\\\0\x01-\x1f]+)*$")
LARGEST = 64 * 2**20
"""Bytes that a manifest may have; it is read before anything about it is known."""


@dataclass(frozen=True)
class KitFile:
    """One file of a kit. path: relative, with /; kind: what it is for, see KINDS.

    unpacked: bytes that it takes when it is installed, 0 when it stays as it is; origin: where it was taken from.
    """

    path: str
    kind: str
    bytes: int
    sha256: str
    unpacked: int = 0
    executable: bool = False
    licence: str = ""
    origin: str = ""


KINDS = (
    "installer", "source", "uv", "interpreter", "lock", "wheel", "own wheel", "conda", "weights", "weights manifest",
    "licences", "server wheel", "server program",
)  # fmt: skip


@dataclass(frozen=True)
class KitManifest:
    """What is signed. previous: digest of the manifest that a delta goes on top of, "" for a whole kit.

    python: version of the interpreter that the wheels are for; envs: model envs that can be built; demo: whether they
    suffice for `make demo`; profile: of envs/policy.toml, whose locks they are from; base: path of the lock of our own
    interpreter; files: all files of the kit, also those that a delta leaves out.
    """

    version: str
    commit: str
    created: str
    python: str
    base: str
    profile: str
    envs: tuple[str, ...]
    demo: bool
    previous: str
    files: tuple[KitFile, ...]

    def to_bytes(self) -> bytes:
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    def of_kind(self, *kinds: str) -> list[KitFile]:
        return [file for file in self.files if file.kind in kinds]

    def one(self, kind: str) -> KitFile | None:
        """The only file of a kind; None when there is none."""
        return next(iter(self.of_kind(kind)), None)

    def by_path(self) -> dict[str, KitFile]:
        return {file.path: file for file in self.files}


def digest_of(manifest: bytes) -> str:
    """What a delta names its predecessor by."""
    return hashlib.sha256(manifest).hexdigest()


def parse(content: bytes, where: str) -> KitManifest:
    """Raises KitRefused naming the field; a path that leaves the folder is refused."""
    try:
        document: Any = json.loads(content)
    except (ValueError, UnicodeDecodeError) as error:
        raise KitRefused(f"{where} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise KitRefused(f"{where} must be a table")
    table = cast("dict[str, Any]", document)
    if table.pop("format", None) != FORMAT:
        raise KitRefused(f"{where} has another format than {FORMAT}; install it with the install.sh that came with it")
    try:
        files = tuple(_file(entry, where) for entry in table.pop("files"))
        envs = tuple(str(name) for name in table.pop("envs"))
        manifest = KitManifest(**_typed(table, envs, where), envs=envs, files=files)
    except (KeyError, TypeError) as error:
        raise KitRefused(f"{where} is not a kit's manifest: {error}") from error
    paths = [file.path for file in files]
    if len(set(paths)) != len(paths):
        raise KitRefused(f"{where} names a file twice")
    return manifest


def _file(entry: Mapping[str, Any], where: str) -> KitFile:
    file = KitFile(**entry)
    for field in fields(KitFile):
        if type(getattr(file, field.name)).__name__ != field.type:
            raise KitRefused(f"{where}: {field.name} of {file.path!r} must be of type {field.type}")
    parts = PurePosixPath(file.path).parts
    if not parts or not NAME.match(file.path) or ".." in parts or str(PurePosixPath(file.path)) != file.path:
        raise KitRefused(f"{where}: {file.path!r} is not a path inside a kit")
    if file.path in (MANIFEST, SIGNATURE) or file.kind not in KINDS:
        raise KitRefused(f"{where}: {file.path!r} cannot be a file of a kit of kind {file.kind!r}")
    if file.bytes < 0 or file.unpacked < 0 or not SHA256.match(file.sha256):
        raise KitRefused(f"{where}: size or sha256 of {file.path!r} is wrong")
    return file


def _typed(table: dict[str, Any], envs: tuple[str, ...], where: str) -> dict[str, Any]:
    for name, value in table.items():
        if not isinstance(value, bool if name == "demo" else str):
            raise KitRefused(f"{where}: {name} is of the wrong type")
    if not all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in envs):
        raise KitRefused(f"{where}: envs has a name that no env can have")
    if not re.fullmatch(r"3\.\d+", table["python"]):
        raise KitRefused(f"{where}: python must be a version such as 3.11")
    return table
