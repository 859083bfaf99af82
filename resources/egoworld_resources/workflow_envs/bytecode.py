"""Bytecode of an env, compiled in the sandbox: no .pth, sitecustomize or module of a package runs in the service.

The program inside gets nothing but the env to read, and its output is taken as bytes of files that this side names.
Python compares such a file with the digest of its source before it uses it (PEP 552, checked).
"""

from __future__ import annotations

import base64
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from egoworld_resources.environments.building.generations import site_packages
from egoworld_resources.environments.errors import EnvBuildFailed
from egoworld_resources.sandbox import Bounds, Outcome, SandboxFailed, Walls, run
from egoworld_resources.sandbox.trees import links, trees
from egoworld_resources.sandbox.walls import SCRATCH

log = logging.getLogger(__name__)

PROGRAM = """
import base64, py_compile, sys
folder, names = {folder!r}, {names!r}
for name in names:
    try:
        checked = py_compile.PycInvalidationMode.CHECKED_HASH
        made = py_compile.compile(folder + "/" + name, "out", folder + "/" + name, True, invalidation_mode=checked)
        with open(made, "rb") as file:
            text = base64.b64encode(file.read()).decode()
    except Exception:
        text = ""
    print(text)
"""
"""Prints a line for each source, empty for one that cannot be compiled: foreign source may make it raise anything."""

CODE = "/run/compile.py"
AT_ONCE = 8 << 20
"""Bytes of source in one run."""
BOUNDS = Bounds(timeout_s=300, memory_bytes=2 << 30, output_bytes=256 << 20, processes=16, disk_bytes=256 << 20)


def compile_packages(generation: Path, python: Path) -> int:
    """Compile all modules of a new env; returns how many were. Raises EnvBuildFailed when the sandbox fails."""
    packages = site_packages(generation)
    tag = f"cpython-{packages.parent.name.removeprefix('python').replace('.', '')}"
    compiled = 0
    for names in _portions(packages):
        done = _ran(PROGRAM.format(folder=str(packages), names=names), generation, python)
        lines = done.stdout.splitlines()
        if done.exit_code or len(lines) != len(names):
            raise EnvBuildFailed(f"the modules of {generation} could not be compiled: {done.stderr[-1000:]}")
        for name, line in zip(names, lines, strict=True):
            if line:
                _write(packages / name, tag, base64.b64decode(line))
                compiled += 1
    log.info("compiled %d modules of %s", compiled, generation.parent.name)
    return compiled


def _ran(program: str, generation: Path, python: Path) -> Outcome:
    """By the env's interpreter, isolated and without site: it looks at no file of a package by itself."""
    with tempfile.TemporaryDirectory(prefix="egoworld-bytecode-") as disk:
        walls = Walls(
            read_only=trees(python, generation),
            links=links(python),
            files={CODE: program.encode("utf-8", "surrogatepass")},
            disk=Path(disk),
            hidden=[str(generation.parent.parent)],
            cwd=SCRATCH,
        )
        command = [str(python), "-I", "-S", "-B", CODE]
        try:
            return run(command, walls=walls, bounds=BOUNDS, environment={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"})
        except SandboxFailed as error:
            raise EnvBuildFailed(f"the modules of {generation} could not be compiled: {error}") from error


def _portions(packages: Path) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for file in sorted(packages.rglob("*.py")):
        if file.is_symlink() or not file.is_file():
            continue
        names.append(str(file.relative_to(packages)))
        size += file.stat().st_size
        if size > AT_ONCE:
            yield names
            names, size = [], 0
    if names:
        yield names


def _write(source: Path, tag: str, content: bytes) -> None:
    folder = source.parent / "__pycache__"
    folder.mkdir(exist_ok=True)
    target = folder / f"{source.stem}.{tag}.pyc"
    target.unlink(missing_ok=True)  # one that a wheel brought is hardlinked to the cache
    target.write_bytes(content)
    target.chmod(0o444)
