"""Where packages may come from: package indexes and the hosts of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class PublicIndex:
    """A public index, by sha256 of its address, of its own host and of the hosts of its files.

    Only generated locks name the hosts themselves, so that a search for them finds what is used, and nothing else.
    """

    address: str
    host: str
    hosts: tuple[str, ...]


PUBLIC = {
    "PyPI": PublicIndex(
        "5a06749b2297be54ac5699f6f2761716adc5001a2d5f8b915ab2172922dd5706",
        "a4aa2ac280bb8d1a0ce7a1be5a7bfb10292b49fe9435ad5cff19f421f3c70e41",
        ("c899567ee906851741bf7f3bde17a33777859ff9f53ff54d6f0ea54cf31ad636",),
    ),
    "PyTorch CPU": PublicIndex(
        "e7c18efb8c5595cd2e243e1f8cda15cd4933b95ef27fa158cfc0905c6bf952bb",
        "03e390c8d8a6f2cf7bd2459306b376972ea6d6d28453d4a52dcd6c6c06fc9091",
        (
            "03e390c8d8a6f2cf7bd2459306b376972ea6d6d28453d4a52dcd6c6c06fc9091",
            "107971dcfe883e3a8508fdd29b4eb8d2882c2038f13e3d24055ff7bb1fd082b6",
        ),
    ),
}


def index_named(name: str) -> bool:
    """Whether a public index is known by this name."""
    return name in PUBLIC


def origin_allowed(origin: str, indexes: Iterable[str], *, of_index: bool = False) -> bool:
    """Whether a file of a lock, or its index when ``of_index``, comes from one of ``indexes``.

    origin: an address or a path. indexes: names of public ones, addresses, paths of folders with wheels. A file from
    a non-public index must be on that index's host.
    """
    return any(_from(origin, index, of_index) for index in indexes)


def host_allowed(origin: str, indexes: Iterable[str]) -> bool:
    """Whether one of ``indexes`` or its files is on the server ``origin``, as scheme://host:port."""
    return any(_from(origin, index, of_index=False) or _hosts(origin, index) for index in indexes)


def _hosts(origin: str, index: str) -> bool:
    known = PUBLIC.get(index)
    return (
        known is not None and origin.startswith("https://") and _digest(urlsplit(origin).hostname or "") == known.host
    )


def _from(origin: str, index: str, of_index: bool) -> bool:
    known = PUBLIC.get(index)
    if known:
        if of_index:
            return _digest(origin.rstrip("/")) == known.address
        return urlsplit(origin).scheme == "https" and _digest(urlsplit(origin).hostname or "") in known.hosts
    folder, place = _folder(index), _folder(origin)
    if folder or place:
        return folder is not None and place is not None and place.is_relative_to(folder)
    if of_index:
        return origin.rstrip("/") == index.rstrip("/")
    return urlsplit(origin).netloc == urlsplit(index).netloc


def _folder(place: str) -> Path | None:
    """The path that an address of the scheme file, or a path, names; None for an address elsewhere."""
    if place.startswith("file://"):
        return Path(unquote(urlsplit(place).path)).resolve()
    return None if "://" in place else Path(place).resolve()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
