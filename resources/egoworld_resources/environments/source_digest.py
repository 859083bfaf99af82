"""Digest of source code in which comments, docstrings and formatting do not count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from egoworld_resources.environments.sources import PLAIN, Import, Sources


def closure(sources: Sources, folder: Path, *modules: str) -> list[Path]:
    """The files of ``modules`` and, transitively, of every module of ``folder`` that they import; sorted."""
    found: set[Path] = set()
    names, waiting = set(modules), list(modules)
    while waiting:
        for file in sources.files(folder, waiting.pop()):
            if file not in found:
                found.add(file)
                new = set(_imported(sources.parsed(file).imports, _package(folder, file))) - names
                names |= new
                waiting.extend(new)
    return sorted(found)


def imported_names(sources: Sources, files: Iterable[Path], package: str) -> list[str]:
    """The dotted names below an installed package that files import, sorted."""
    names = {name for file in files for name in _imported(sources.parsed(file).imports, ())}
    return sorted(name for name in names if name.split(".")[0] == package)


def source_digest(sources: Sources, folder: Path, files: Iterable[Path], data: Iterable[Path] = ()) -> str:
    """sha256 over Python files as normalised source and over data files as bytes, under their paths in ``folder``."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        text = sources.parsed(file).text
        digest.update(f"{file.relative_to(folder).as_posix()}\0{text}\0".encode())
    for file in sorted(set(data)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def _package(folder: Path, file: Path) -> tuple[str, ...]:
    return file.parent.relative_to(folder).parts


def _imported(imports: Iterable[Import], package: Sequence[str]) -> Iterator[str]:
    for one in imports:
        if one.level == PLAIN:
            yield from one.names
        else:
            above = package[: len(package) - (one.level - 1)] if one.level else []
            base = ".".join([*above, *([one.module] if one.module else [])])
            if base:
                yield base
            yield from (f"{base}.{name}".lstrip(".") for name in one.names)
