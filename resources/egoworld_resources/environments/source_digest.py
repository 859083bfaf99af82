"""Digest of source code in which comments, docstrings and formatting do not count."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from egoworld_resources.errors import BadConfiguration

Import = ast.Import | ast.ImportFrom
Parsed = tuple[Sequence[Import], str]
IMPORTS = (ast.Import, ast.ImportFrom)
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

FILES = 512
"""Sources whose answers are kept: stages share modules, and the same bytes always give the same answer."""


def closure(folder: Path, *modules: str) -> list[Path]:
    """The files of ``modules`` and, transitively, of every module of ``folder`` that they import; sorted."""
    found: set[Path] = set()
    names, waiting = set(modules), list(modules)
    while waiting:
        for file in _files(folder, waiting.pop()):
            if file not in found:
                found.add(file)
                new = set(_imported(_parsed(file)[0], _package(folder, file))) - names
                names |= new
                waiting.extend(new)
    return sorted(found)


def imported_names(files: Iterable[Path], package: str) -> list[str]:
    """The dotted names below an installed package that files import, sorted."""
    names = {name for file in files for name in _imported(_parsed(file)[0], ())}
    return sorted(name for name in names if name.split(".")[0] == package)


def source_digest(folder: Path, files: Iterable[Path], data: Iterable[Path] = ()) -> str:
    """sha256 over Python files as normalised source and over data files as bytes, under their paths in ``folder``."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        text = _parsed(file)[1]
        digest.update(f"{file.relative_to(folder).as_posix()}\0{text}\0".encode())
    for file in sorted(set(data)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def _parsed(file: Path) -> Parsed:
    """The parsed file; raises BadConfiguration naming the line if it is not Python."""
    try:
        return _parsed_source(file.read_bytes())
    except SyntaxError as error:
        raise BadConfiguration(f"{file}:{error.lineno}: not Python: {error.msg}") from error


@lru_cache(FILES)
def _parsed_source(source: bytes) -> Parsed:
    """What source imports, and its text without docstrings, comments and formatting."""
    tree = ast.parse(source)
    imports: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, HAVE_DOCSTRINGS):
            body = [statement for statement in node.body if not _is_text(statement)]
            node.body = body or [ast.Pass()]
        elif isinstance(node, IMPORTS):
            imports.append(node)
    return imports, ast.unparse(tree)


def _files(folder: Path, name: str) -> Iterator[Path]:
    """Files of ``folder`` that importing the dotted ``name`` runs: packages on the way, then the module."""
    base = folder
    for part in name.split("."):
        base = base / part
        if (base / "__init__.py").is_file():
            yield base / "__init__.py"
        elif base.with_suffix(".py").is_file():
            yield base.with_suffix(".py")
            return
        elif not base.is_dir():
            return


def _package(folder: Path, file: Path) -> tuple[str, ...]:
    return file.parent.relative_to(folder).parts


def _imported(imports: Iterable[Import], package: Sequence[str]) -> Iterator[str]:
    for node in imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            above = package[: len(package) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
