"""Who may bring videos: uploaders by name, each with an account on our S3 server, a folder in the inbox, a quota.

Kept in a file of their own (mode 0600), not in the .env: an uploader is added and removed while the server runs.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.leases.locks import locked, write_private
from egoworld_resources.s3.access import ROLES, S3Access
from egoworld_resources.s3.buckets import Buckets, uploader
from egoworld_resources.server import s3_accounts
from egoworld_resources.server.environment import ServerSettings

FILE = "uploaders.json"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
ACCOUNT = "egoworld-uploader-{name}"
"""The access key of an uploader."""


@dataclass(frozen=True)
class Lying:
    """What lies in the folder of an uploader, old versions counted."""

    files: int = 0
    bytes_: int = 0


@dataclass(frozen=True)
class Uploader:
    """One who brings videos. gb, files: how much may lie in the folder ``name`` of the inbox; 0: no bound."""

    name: str
    secret: str
    gb: float = 0.0
    files: int = 0
    full: bool = False
    """Whether more lies there than that, so that nothing may be added."""

    def used_up(self, lies: Lying) -> str:
        """What of the quota is used up by what lies in the folder, and what to do; empty when there is room."""
        used = [f"{lies.bytes_ / 1e9:.3f} of {self.gb:g} GB"] * bool(self.gb and lies.bytes_ >= self.gb * 1e9)
        used += [f"{lies.files:,} of {self.files:,} files"] * bool(self.files and lies.files >= self.files)
        if not used:
            return ""
        return (
            f"its quota is used up ({' and '.join(used)}, old versions counted), so it can bring nothing more: remove "
            f"videos that were taken in from {self.name}/ of the inbox, or allow more: uploader add {self.name}"
        )

    def access(self, owner: S3Access) -> S3Access:
        """How it reaches the server."""
        keys = {"access_key": ACCOUNT.format(name=self.name), "secret_key": self.secret}
        return S3Access.model_validate({**owner.model_dump(), **keys})


class Uploaders:
    """The uploaders of a server whose state lies in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def all(self) -> dict[str, Uploader]:
        """By name. Raises BadConfiguration for a file that is damaged."""
        if not self.path.is_file():
            return {}
        try:
            raw = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: Uploader(name=name, **facts) for name, facts in sorted(raw.items())}
        except (ValueError, TypeError, AttributeError):
            raise BadConfiguration(
                f"{self.path} is damaged; take it from a backup, or remove it and add the uploaders again"
            ) from None

    def accounts(self, owner: S3Access) -> dict[str, S3Access]:
        """Their accounts, as ``s3_accounts`` names them."""
        return {uploader(one.name, full=one.full): one.access(owner) for one in self.all().values()}

    def add(self, name: str, gb: float = 0.0, files: int = 0) -> Uploader:
        """A new one, or another quota for one that is there: its key stays. Raises BadConfiguration."""
        if not NAME.fullmatch(name) or name in ROLES:
            raise BadConfiguration(
                f"{name[:50]!r} cannot be the name of an uploader: 1 to 31 of a-z, 0-9 and -, and no role"
            )
        with self._changing() as known:
            old = known.get(name, Uploader(name, secrets.token_hex(20)))
            known[name] = replace(old, gb=gb, files=files, full=False)
        return known[name]

    def note_full(self, names: Collection[str]) -> bool:
        """Remember who has used up a quota; whether that is news."""
        if all(one.full == (one.name in names) for one in self.all().values()):
            return False
        with self._changing() as known:
            known |= {name: replace(one, full=name in names) for name, one in known.items()}
        return True

    def rotate(self, name: str) -> Uploader:
        """Give one another key; the old one ends. Raises UnknownName."""
        with self._changing() as known:
            known[name] = replace(found(known, name), secret=secrets.token_hex(20))
        return known[name]

    def remove(self, name: str) -> Uploader:
        """Forget one; what it has brought stays. Raises UnknownName."""
        with self._changing() as known:
            return known.pop(found(known, name).name)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Uploader]]:
        """Change what is known while nobody else does; nothing is written when that fails."""
        with locked(self.path.with_name(f".{FILE}.lock")):
            known = self.all()
            yield known
            facts = {one.name: {k: v for k, v in asdict(one).items() if k != "name"} for one in known.values()}
            write_private(self.path, json.dumps(facts, indent=1) + "\n")


def lying(buckets: Buckets) -> dict[str, Lying]:
    """What lies in each folder of the inbox; under "" what lies in none. Raises StoreRefused, StoreUnreachable."""
    files, size = Counter[str](), Counter[str]()
    for key, bytes_ in buckets.versions("inbox"):
        folder, between, _ = key.partition("/")
        whose = folder if between else ""
        files[whose] += 1
        size[whose] += bytes_
    return {whose: Lying(count, size[whose]) for whose, count in files.items()}


def found(known: dict[str, Uploader], name: str) -> Uploader:
    """One by its name. Raises UnknownName."""
    if name not in known:
        raise UnknownName("uploader", name, known)
    return known[name]


def settle(folder: Path, server: ServerSettings, gone: Uploader | None = None) -> None:
    """Have the accounts on the S3 server as they are known in ``folder``; end that of ``gone``.

    One at a time: a process that read the keys before another one changed them would put the old ones back.
    Raises StoreRefused, StoreUnreachable.
    """
    with locked(folder / ".s3_accounts.lock"):
        owner, accounts = server.s3_access, server.s3_accounts | Uploaders(folder).accounts(server.s3_access)
        if gone:
            s3_accounts.end(server.s3_server, owner, gone.access(owner), accounts)
        else:
            s3_accounts.keep(server.s3_server, owner, accounts, folder / "s3_accounts")
