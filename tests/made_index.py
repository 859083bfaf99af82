"""A package index of tiny wheels on this machine, so that real uv resolves and fetches without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from made_envs import made_wheel
from servers import answering


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each."""

    def log_message(self, *_: object) -> None:
        return


class MadeIndex:
    """The pages of PEP 503 below ``folder``; ``url`` is what UV_DEFAULT_INDEX takes."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.url = f"{address}/simple"

    def add(self, name: str, version: str, *, requires: tuple[str, ...] = (), source: str = "") -> Path:
        """A wheel whose module of the same name says its VERSION."""
        modules = {f"{name}.py": source or f"VERSION = {version!r}\n"}
        wheel = made_wheel(self.folder / "files", name, version, modules, requires)
        page = self.folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        wheels = sorted((self.folder / "files").glob(f"{name}-*.whl"))
        links = [f'<a href="/files/{one.name}#sha256={_sha256(one)}">{one.name}</a>' for one in wheels]
        page.write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>", encoding="utf-8")
        return wheel


@contextmanager
def made_index(folder: Path) -> Iterator[MadeIndex]:
    """An index that answers while the context lasts, with tiny 1.0 and 2.0, and leaf 1.0 that needs tiny."""
    folder.mkdir(parents=True, exist_ok=True)
    with answering(partial(Quiet, directory=str(folder))) as address:
        index = MadeIndex(folder, address)
        index.add("tiny", "1.0")
        index.add("tiny", "2.0")
        index.add("leaf", "1.0", requires=("tiny>=1.0",))
        yield index


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
