"""Files of locks: from a folder of earlier fetches or from the address in the lock, always by the lock's sha256."""

from __future__ import annotations

import hashlib
import ssl
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.errors import IndexUnreachable
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.environments.locking.resolve import linux_entries
from egoworld_resources.environments.locking.wheels import wheel_name
from egoworld_resources.environments.policy.licences import stated
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.kit.receiver.refused import KitRefused

ATTEMPTS = 4
TOGETHER = 4
TIMEOUT_S = 120
BLOCK = 2**20


@dataclass(frozen=True)
class Wanted:
    """A file of a lock. origin: address or path."""

    name: str
    sha256: str
    origin: str


def wanted(env: str, lock: Lock, python: str, policy: Policy, sdists: Iterable[str] = ()) -> list[Wanted]:
    """The files that ``lock`` installs under ``python`` ("3.11"); raises KitRefused for anything but a file."""
    found: list[Wanted] = []
    for entry in linux_entries(env, lock.entries, python=f"=={python}.*", policy=policy, sdists=list(sdists)):
        files = cast(
            "list[dict[str, Any]]", [*entry.get("wheels", []), *([entry["sdist"]] if "sdist" in entry else [])]
        )
        if not files:
            raise KitRefused(
                f"{lock.path}: {entry['name']} comes from {'git' if 'vcs' in entry else 'no index'}, which no machine "
                "without a network reaches; make a wheel of it, put it on an index and lock again"
            )
        found += [Wanted(wheel_name(file), file["hashes"]["sha256"], _origin(file, lock)) for file in files]
    return found


def fetch(files: Mapping[str, Wanted], folder: Path) -> dict[str, Path]:
    """Every file by its name, in ``folder`` or at its own path; raises IndexUnreachable, KitRefused naming the file."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=TOGETHER) as pool:
        return dict(zip(files, pool.map(lambda file: _fetched(file, folder), files.values()), strict=True))


def unpacked_bytes(wheel: Path) -> int:
    """What a wheel takes when it is unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(member.file_size for member in archive.infolist())


def licence_of(wheel: Path) -> str:
    """The SPDX expression that a wheel states, "" where none can be read."""
    return stated(_metadata(wheel))


def requirements_of(wheel: Path) -> list[Requirement]:
    """The requirements of a wheel, from its metadata."""
    return [Requirement(text) for text in _metadata(wheel).get_all("Requires-Dist") or []]


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
        return HeaderParser().parsestr(archive.read(inside[0]).decode("utf-8", "replace") if inside else "")


def _origin(file: Mapping[str, Any], lock: Lock) -> str:
    return str(file["url"]) if "url" in file else str(lock.path.parent / file["path"])


def _fetched(file: Wanted, folder: Path) -> Path:
    place = folder / file.name
    if place.is_file() and file_digest(place) == file.sha256:
        return place
    local = _local(file.origin)
    if local is None:
        _download(file, place)
        return place
    if not local.is_file():
        raise KitRefused(f"{local} does not exist; the lock names it")
    if file_digest(local) != file.sha256:
        raise KitRefused(f"{local} is not the file that the lock names: its sha256 is another")
    return local


def _local(origin: str) -> Path | None:
    parts = urlsplit(origin)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(origin)


def _download(file: Wanted, place: Path) -> None:
    part = place.with_name(f".{place.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            digest = _copied(file.origin, part)
            break
        except urllib.error.HTTPError as error:
            raise IndexUnreachable(f"{file.origin}: {error.code} {error.reason}") from error
        except OSError as error:
            part.unlink(missing_ok=True)
            if attempt == ATTEMPTS - 1:
                raise IndexUnreachable(f"{file.origin} could not be fetched: {error}") from error
            time.sleep(2**attempt)
    else:
        return
    if digest != file.sha256:
        part.unlink()
        raise KitRefused(f"{file.origin} has sha256 {digest}, the lock has {file.sha256}; nothing was built")
    part.replace(place)


def _copied(address: str, part: Path) -> str:
    digest = hashlib.sha256()
    with (
        urllib.request.urlopen(address, timeout=TIMEOUT_S, context=ssl.create_default_context()) as answer,
        part.open("wb") as copy,
    ):
        while block := answer.read(BLOCK):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()
