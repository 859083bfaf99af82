"""Made-up kits: a few signed files, and a whole checkout so small that a kit of it is installed in seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.kit.keys import make_key, read_key, sign
from egoworld_resources.kit.pieces import Piece, piece
from egoworld_resources.kit.receiver.manifest import KitManifest
from egoworld_resources.kit.writing import write
from made_envs import made_env, made_lock, made_wheel

NEEDED = (
    "annotated-doc", "annotated-types", "boolean-py", "license-expression", "markdown-it-py", "mdurl", "packaging",
    "psutil", "pydantic", "pydantic-core", "pydantic-settings", "pygments", "python-dotenv", "rich",
    "shellingham", "tomli-w", "typer", "typing-extensions", "typing-inspection",
)  # fmt: skip
"""What the builder of envs itself imports."""
BACKEND = ("editables", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
"""What makes our own packages."""

MAKEFILE = """\
export UV_CACHE_DIR ?= $(CURDIR)/data/uv-cache
demo:
\t@.venv/bin/python -I -m egoworld_resources verify tiny_env > demo.txt
"""


class Maker:
    """Signs and writes kits of a few files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "kit.key"
        self.fingerprint = make_key(self.key)

    def manifest(self, pieces: Sequence[Piece], previous: str = "") -> KitManifest:
        files = tuple(one.file for one in pieces)
        return KitManifest(
            version="1",
            commit="",
            created="",
            python="3.11",
            base="locks/pylock.base.toml",
            profile="",
            envs=(),
            demo=False,
            previous=previous,
            files=files,
        )

    def kit(
        self, name: str, pieces: Sequence[Piece], shipped: Sequence[Piece] | None = None, previous: str = ""
    ) -> Path:
        """A kit of ``pieces`` that ships ``shipped`` (default all of them); a tar when ``name`` ends so."""
        content = self.manifest(pieces, previous).to_bytes()
        target = self.folder / name
        write(target, content, sign(read_key(self.key), content), pieces if shipped is None else shipped)
        return target


def some_pieces() -> list[Piece]:
    """Two files named like wheels, and a Makefile."""
    return [
        piece("wheels/a-1-py3-none-any.whl", "wheel", b"wheel a" * 1000),
        piece("wheels/b-1-py3-none-any.whl", "wheel", b"wheel b" * 1000),
        piece("source/Makefile", "source", b"demo:\n\ttrue\n"),
    ]


def renamed(one: Piece, path: str) -> Piece:
    """The piece under another path."""
    return replace(one, file=replace(one.file, path=path))


def without_network() -> list[str]:
    """The command that runs another one without any network; skips where the kernel does not allow it."""
    own = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("unshare") is None:
        pytest.skip("no program unshare: nothing can be run without a network")
    tried = subprocess.run([*own, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this kernel or container allows no network namespace: {tried.stderr.strip()}")
    return own


def small_checkout(folder: Path, repository: Path) -> Path:
    """A checkout with our own code, one env of one made-up wheel, and a base lock of what the builder imports."""
    for name in ("resources", "egoworld_assets", "envs/runner", "infra", "tests/envs", "tests/locks"):
        shutil.copytree(repository / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "conda"))
    for name in ("pyproject.toml", "LICENSE", "README.md", "workspace.yaml"):
        shutil.copy(repository / name, folder / name)
    (folder / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    locks = folder / "locks"
    locks.mkdir()
    shutil.copy(repository / "locks" / "uv.txt", locks)
    real = read_toml(repository / "locks" / "pylock.dev.toml")
    for name, packages in (("base", NEEDED), ("dev", BACKEND)):
        kept = {**real, "packages": [entry for entry in real["packages"] if entry["name"] in packages]}
        (locks / f"pylock.{name}.toml").write_text(tomli_w.dumps(kept), encoding="utf-8")
    made_env(folder, "tiny_env")
    tiny(folder, "1.0")
    (folder / ".gitignore").write_text("__pycache__/\n/data/\n/wheels/\n", encoding="utf-8")
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def tiny(checkout: Path, version: str) -> None:
    """Lock the made-up wheel in this version."""
    wheel = made_wheel(checkout / "wheels", "tiny", version, {"tiny.py": f"VERSION = '{version}'\n"})
    made_lock(checkout, "tiny_env", [wheel])
