"""Sources as their digests see them: what they import, and their text without docstrings, comments and formatting.

Parsing is most of the work of a look at recipes, so what came out is kept in a file, by the sha256 of the bytes. What
is in that file becomes a part of recipes. So it is only taken from a folder of ours that nobody else may enter, when
its checksum holds, and when it was written by this Python and this module; otherwise the sources are parsed again.
"""

from __future__ import annotations

import ast
import json
import os
import secrets
import stat
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from egoworld_resources.errors import BadConfiguration

HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PLAIN = -1
"""The level of `import a, b`; that of `from a import b` counts its dots."""
FILES = 512
"""Sources that are kept: stages share modules, and the same bytes always give the same answer."""
FILE = "parsed.json"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Import(NamedTuple):
    """One import statement. level: PLAIN, or the number of dots; module: empty without one; names: what is named."""

    level: int
    module: str
    names: tuple[str, ...]


class Parsed(NamedTuple):
    imports: tuple[Import, ...]
    text: str


class Sources:
    """Sources, each found and read once while this lives. folder: where what came of them is kept; None: nowhere."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._files: dict[tuple[Path, str], list[Path]] = {}
        self._read: dict[Path, Parsed] = {}
        self._new: dict[str, Parsed] = {}

    def files(self, folder: Path, name: str) -> Sequence[Path]:
        """Files of a folder that importing the dotted name runs: packages on the way, then the module."""
        if (folder, name) not in self._files:
            self._files[folder, name] = list(_files(folder, name))
        return self._files[folder, name]

    def parsed(self, file: Path) -> Parsed:
        """The parsed file; raises BadConfiguration naming the line if it is not Python."""
        if file not in self._read:
            self._read[file] = self._of(file, file.read_bytes())
        return self._read[file]

    def keep(self) -> None:
        """Write what was parsed to the folder. Where that cannot be, it is parsed again the next time."""
        if self._new and self._folder:
            kept = dict([*self._kept.items(), *self._new.items()][-FILES:])
            with suppress(OSError):
                _write(self._folder, _with_checksum(json.dumps(kept).encode()))
                self._kept, self._new = kept, {}

    @cached_property
    def _kept(self) -> Mapping[str, Parsed]:
        try:
            content = _read(self._folder) if self._folder else b""
            found = json.loads(_checked(content))
            return {name: Parsed(tuple(_import(one) for one in each), text) for name, (each, text) in found.items()}
        except (OSError, ValueError):
            return {}

    def _of(self, file: Path, source: bytes) -> Parsed:
        name = sha256(source).hexdigest()
        found = self._kept.get(name) or self._new.get(name)
        if found is None:
            try:
                found = self._new[name] = parse(source)
            except SyntaxError as error:
                raise BadConfiguration(f"{file}:{error.lineno}: not Python: {error.msg}") from error
        return found


@lru_cache(FILES)
def parse(source: bytes) -> Parsed:
    """What source imports, and its text without docstrings, comments and formatting. Raises SyntaxError."""
    tree = ast.parse(source)
    imports: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, HAVE_DOCSTRINGS):
            body = [statement for statement in node.body if not _is_text(statement)]
            node.body = body or [ast.Pass()]
        elif isinstance(node, ast.Import):
            imports.append(Import(PLAIN, "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.ImportFrom):
            imports.append(Import(node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return Parsed(tuple(imports), ast.unparse(tree))


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _files(folder: Path, name: str) -> Iterator[Path]:
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


def _import(found: tuple[int, str, Sequence[str]]) -> Import:
    level, module, names = found
    return Import(level, module, tuple(names))


@cache
def _rule() -> bytes:
    """What a text depends on beside its source. Raises OSError."""
    return sha256(sys.version.encode() + Path(__file__).read_bytes()).digest()


def _with_checksum(body: bytes) -> bytes:
    return sha256(_rule() + body).hexdigest().encode() + b"\n" + body


def _checked(content: bytes) -> bytes:
    """The body of what was written by ``_with_checksum``; raises ValueError when it is anything else."""
    body = content.partition(b"\n")[2]
    if content != _with_checksum(body):
        raise ValueError("damaged, or of another version")
    return body


def _read(folder: Path) -> bytes:
    with _ours(folder) as inside:
        descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inside)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()


def _write(folder: Path, content: bytes) -> None:
    if not folder.is_dir():
        if folder.parent.stat().st_uid != os.geteuid():
            raise PermissionError(f"{folder.parent} is another user's")
        folder.mkdir(mode=0o700, exist_ok=True)
    with _ours(folder) as inside:
        new = f".{secrets.token_hex(8)}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=inside)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(new, FILE, src_dir_fd=inside, dst_dir_fd=inside)
        except BaseException:
            os.unlink(new, dir_fd=inside)
            raise


@contextmanager
def _ours(folder: Path) -> Generator[int]:
    """A descriptor of a folder that nobody but this user may enter; raises OSError for any other."""
    inside = os.open(folder, FOLDER)
    try:
        about = os.fstat(inside)
        if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
            raise PermissionError(f"{folder} is open to other users")
        yield inside
    finally:
        os.close(inside)
