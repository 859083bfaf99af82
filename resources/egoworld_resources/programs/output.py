"""What programs say while they work for an operation, kept in a file that can be read meanwhile."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from egoworld_resources.programs.redaction import redacted

_FILE: ContextVar[Path | None] = ContextVar("egoworld_words", default=None)


@contextmanager
def words_into(file: Path) -> Generator[None]:
    """Programs that are started inside, by this thread, say it into ``file``; it appears with their first word."""
    before = _FILE.set(file)
    try:
        yield
    finally:
        _FILE.reset(before)


class Words:
    """Where one program's standard error goes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._begin = file.seek(0, 2)

    def text(self) -> str:
        """The output of the program."""
        self.file.seek(self._begin)
        return self.file.read().decode(errors="replace").strip()

    def without_secrets(self) -> None:
        """Take secrets out of the output, in the file too."""
        self.file.seek(self._begin)
        text = self.file.read().decode(errors="surrogateescape")
        hidden = redacted(text)
        if hidden != text:
            self.file.truncate(self._begin)
            self.file.seek(self._begin)
            self.file.write(hidden.encode(errors="surrogateescape"))


@contextmanager
def words_of(command: Sequence[str]) -> Generator[Words]:
    """For one program: the file of the operation that it works for, after a line with the command, else a temporary."""
    kept = _FILE.get()
    if kept is None:
        with tempfile.TemporaryFile() as file:
            yield Words(file)
        return
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(kept, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab+", buffering=0) as file:  # noqa: PTH123
        file.write(f"$ {redacted(shlex.join(command))}\n".encode(errors="replace"))
        words = Words(file)
        try:
            yield words
        finally:
            words.without_secrets()
