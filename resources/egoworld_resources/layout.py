"""Where things lie under the home folder."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

BIDIRECTIONAL = {chr(n) for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Marks that change the order in which a terminal shows what follows."""

UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of what is no visible character: controls, surrogates, breaks of lines and paragraphs."""

KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
"""What a video key looks like: safe as a folder name, a URL part, an object key and a partition key."""


@dataclass(frozen=True)
class Layout:
    """The folders of one installation. cache_at, logs_at: where those two lie when not below home."""

    home: Path
    cache_at: Path | None = None
    logs_at: Path | None = None

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def cache(self) -> Path:
        return self.cache_at or self.home / "cache"

    @property
    def envs(self) -> Path:
        return self.home / "envs"

    @property
    def sources(self) -> Path:
        """What was parsed of the sources of models, by their bytes."""
        return self.home / "sources"

    @property
    def scratch(self) -> Path:
        return self.home / "scratch"

    @property
    def dagster(self) -> Path:
        return self.home / "dagster"

    @property
    def server(self) -> Path:
        """The state of the parts that `make up` starts."""
        return self.home / "production"

    @property
    def dataset(self) -> Path:
        return self.home / "dataset"

    @property
    def logs(self) -> Path:
        return self.logs_at or self.home / "logs"

    @property
    def server_logs(self) -> Path:
        """What the parts of a server say: beside their state, or below the folder of logs where one is named."""
        return self.logs_at / "server" if self.logs_at else self.server / "logs"


def video_key(name: str) -> str:
    """A safe, stable partition key from any file name, path parts kept apart.

    Readable ASCII of the name followed by 8 hex digits of the SHA-256 of the exact name, so two names never share
    a key by accident: "Küche 01.MP4" gives "kuche-01-" and the digits.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = ascii_name.rsplit(".", 1)[0] if "." in ascii_name.lstrip(".") else ascii_name
    readable = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:60].rstrip("-") or "video"
    return f"{readable}-{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def readable(name: str) -> str:
    """A file name as text that every file, database and terminal takes.

    Bytes that are not UTF-8, line breaks, terminal codes and marks of direction are written as escapes.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(escaped(c) if unicodedata.category(c) in UNSHOWN or c in BIDIRECTIONAL else c for c in text)


def escaped(character: str) -> str:
    """A character by its number, as Python writes it."""
    return character.encode("unicode_escape").decode("ascii")
