"""Finding code that would install packages at run time, in the folder of an env."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from egoworld_resources.environments.policy.rules import Breach

INSTALLS = re.compile(
    r"\b(?:pip3?(?:\.\d+)?|uv|conda|mamba|micromamba|pixi|poetry|pdm|apt|apt-get)\s+(?:-\S+\s+)*"
    r"(?:(?:pip|tool)\s+)?(?:install|add|sync|create|update|upgrade)\b"
    r"|\buv\s+run\b|\beasy_install\b|\bensurepip\b|\buvx\s"
)
"""A command that installs, as a shell or a list of words would say it."""

INSTALLERS = {"pip", "ensurepip", "easy_install", "conda", "mamba", "uv"}
"""Modules that install; no runner has a reason to import one."""

FETCHES_CODE = re.compile(r"\bhub\.load$")
"""torch.hub.load fetches a repository and runs it."""

SCRIPTS = (".sh", ".bash", ".mk")
FIX = "name it in dependencies of pyproject.toml and make the lock: a server has no network at run time"


def installations(folder: Path) -> Iterator[tuple[Path, Breach]]:
    """Every place of the Python files and shell scripts below ``folder`` that installs something, with its line."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or any(part.startswith((".", "__pycache__")) for part in file.relative_to(folder).parts):
            continue
        if file.suffix == ".py":
            places = _in_python(file)
        elif file.suffix in SCRIPTS or file.name in ("Makefile", "Dockerfile", "Containerfile"):
            places = _in_script(file)
        else:
            continue
        for line, words in places:
            yield file, Breach("run time", f"line {line} installs at run time ({words})", FIX)


def _in_python(file: Path) -> Iterator[tuple[int, str]]:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        yield error.lineno or 1, "cannot be parsed, so cannot be checked"
        return
    nodes = list(ast.walk(tree))
    prose = {
        id(node.value) for node in nodes if isinstance(node, ast.Expr)
    }  # a docstring is a string that is a statement of its own
    within: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, f"import {name}") for name in sorted(_imported(node) & INSTALLERS))
        elif isinstance(node, ast.List | ast.Tuple | ast.Call):
            words = _words(node.args if isinstance(node, ast.Call) else node.elts)
            if id(node) not in within and (found := INSTALLS.search(words)):
                within |= {id(inner) for inner in ast.walk(node)}
                yield node.lineno, found[0].strip()
            elif isinstance(node, ast.Call) and FETCHES_CODE.search(ast.unparse(node.func)) and not _local(node):
                yield node.lineno, "torch.hub.load without source='local'"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose | within:
            yield from ((node.lineno, found[0].strip()) for found in INSTALLS.finditer(node.value))


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.partition(".")[0] for name in names}


def _words(nodes: list[ast.expr]) -> str:
    """The words of a command given as separate strings; a computed word counts as a flag, so it does not split them."""
    return " ".join(
        node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "-computed" for node in nodes
    )


def _local(call: ast.Call) -> bool:
    return any(
        keyword.arg == "source" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "local"
        for keyword in call.keywords
    )


def _in_script(file: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.lstrip().startswith("#") and (found := INSTALLS.search(line)):
            yield number, found[0].strip()
