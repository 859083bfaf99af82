"""Bearer tokens of the API: made once, shown once; the file holds only their digests and is read by its owner alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.leases.locks import locked
from egoworld_resources.settings import Settings

Role = Literal["reader", "writer"]
ROLES: Final[tuple[Role, ...]] = ("reader", "writer")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
PREFIX = "ego_"
"""Begins every token, so that a search for leaked ones finds them."""
FILE_VARIABLE = "ENV_TOKENS_FILE"
GIVEN: Final[dict[str, tuple[str, Role]]] = {
    "ENV_OPERATOR_TOKEN": ("operator", "writer"),
    "ENV_VIEWER_TOKEN": ("viewer", "reader"),
}
"""Variables by which a server gives the service tokens of its own, with their names and roles."""
SHORTEST = 32


@dataclass(frozen=True)
class Token:
    """Who may do what. name: as the audit calls them; role: reader looks, writer changes too; sha256: of the token."""

    name: str
    role: Role
    sha256: str
    created_at: float


@dataclass(frozen=True)
class _Read:
    """The content of the file, and which file that was."""

    stamp: tuple[int, int, int]
    tokens: tuple[Token, ...]


class Tokens:
    """The tokens in ``file``, and ``extra`` ones.

    A change of the file, by another process too, counts from the next request on.
    """

    def __init__(self, file: Path, extra: Sequence[Token] = ()) -> None:
        self.file = file
        self.extra = tuple(extra)
        self._read = _Read((0, 0, 0), ())

    @classmethod
    def of(cls, settings: Settings, environ: MutableMapping[str, str] | None = None) -> Tokens:
        """Those of an installation: ENV_TOKENS_FILE, or a file of its home.

        ``environ``: of a service, which takes further tokens from it. They are removed there, so that no program which
        is started later inherits them. Raises BadConfiguration for one that could be guessed.
        """
        file = Path(os.environ.get(FILE_VARIABLE) or settings.home / "env_tokens.json")
        by_variable = {name: environ.pop(name, "") for name in GIVEN} if environ is not None else {}
        for name, text in by_variable.items():
            if text and len(text) < SHORTEST:
                raise BadConfiguration(f"{name} is shorter than {SHORTEST} characters; make one: openssl rand -hex 32")
        now = round(time.time(), 3)
        return cls(file, [Token(*GIVEN[name], _digest(text), now) for name, text in by_variable.items() if text])

    def create(self, name: str, role: str) -> str:
        """Make a token and return it; nobody can ask for it again. Raises BadConfiguration."""
        if not NAME.fullmatch(name):
            raise BadConfiguration(f"token name {name!r} is not allowed; it must be: {NAME.pattern}")
        if role not in ROLES:
            raise BadConfiguration(f"unknown role {role!r}; known: {', '.join(ROLES)}")
        text = PREFIX + secrets.token_urlsafe(32)
        with locked(self._lock, 10):
            tokens = self.all()
            if any(token.name == name for token in tokens):
                raise BadConfiguration(f"there is a token {name!r} already; revoke it first, or choose another name")
            self._write([*tokens, Token(name, role, _digest(text), round(time.time(), 3))])
        return text

    def revoke(self, name: str) -> None:
        """Make a token worthless. Raises UnknownName."""
        with locked(self._lock, 10):
            tokens = self.all()
            left = [token for token in tokens if token.name != name]
            if len(left) == len(tokens):
                raise UnknownName("token", name, [token.name for token in tokens])
            self._write(left)

    def all(self) -> tuple[Token, ...]:
        """All of them, oldest first. Raises BadConfiguration when others may read the file, or when it is damaged."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return ()
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        read = self._read
        if read.stamp == stamp:
            return read.tokens
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise BadConfiguration(f"{self.file} may be read by others; run: chmod 600 {self.file}")
        try:
            tokens = tuple(Token(**entry) for entry in json.loads(self.file.read_text(encoding="utf-8"))["tokens"])
        except (ValueError, TypeError, KeyError) as error:
            raise BadConfiguration(
                f"{self.file} is not a file of tokens ({error}); remove it, make new ones"
            ) from error
        self._read = _Read(stamp, tokens)
        return tokens

    def whose(self, text: str) -> Token | None:
        """The token that ``text`` is; each is compared, in constant time."""
        digest = _digest(text)
        found: Token | None = None
        for token in (*self.all(), *self.extra):
            if hmac.compare_digest(digest, token.sha256):
                found = token
        return found

    @property
    def _lock(self) -> Path:
        return self.file.with_name(f".{self.file.name}.lock")

    def _write(self, tokens: Sequence[Token]) -> None:
        """Write the whole file again, never readable by others, not even for a moment."""
        fresh = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump({"tokens": [asdict(token) for token in tokens]}, out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.file)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
