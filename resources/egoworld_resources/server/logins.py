"""The logins of the UI: who is let in, and how wrong ones are slowed down without slowing the right ones.

Guesses are counted in windows of ten seconds: a few from an address that nobody has logged in from, more from one where
somebody has, and a bound over all addresses that are strange to a name. Past that bound the password is not looked at,
so that more guesses win nothing; a connection over which somebody has logged in goes on all the same. The slow hash is
computed until a name's password was seen once, one at a time; from then on a guess costs microseconds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

WINDOW_S = 10
STRANGE = RateLimitItemPerSecond(10, WINDOW_S, namespace="strange")
KNOWN = RateLimitItemPerSecond(60, WINDOW_S, namespace="known")
NAME = RateLimitItemPerSecond(100, WINDOW_S, namespace="name")
SLOTS = 1 << 14
"""Addresses are counted in this many slots, which bounds the memory; two in one slot share a window."""
REMEMBERED = 1_000
"""Connections, and addresses by name, that have logged in: the oldest is forgotten."""
QUEUE = 4
"""Logins that wait for the slow hash."""
LONGEST = 1_024
"""Bytes of a name and password."""


@dataclass(frozen=True)
class Verdict:
    """200 with the login's name, 401, or 429 with the seconds after which to try again."""

    status: Literal[200, 401, 429]
    login: str = ""
    wait_s: int = 0


class Recent:
    """The last REMEMBERED things of a kind."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, thing: tuple[str, str]) -> None:
        self._kept[thing] = None
        self._kept.move_to_end(thing)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)

    def __contains__(self, thing: tuple[str, str]) -> bool:
        return thing in self._kept


class Logins:
    """hashes: what ``hashed`` gave of the password of each name."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = hashes
        self._key = secrets.token_bytes(32)
        self._seen: dict[str, bytes] = {}
        self._windows = FixedWindowRateLimiter(MemoryStorage())
        self._connections, self._addresses = Recent(), Recent()
        self._one, self._waiting = asyncio.Lock(), 0

    async def verdict(self, authorization: str, address: str, port: str) -> Verdict:
        """What a request with this Authorization header is answered, that came over the connection address:port."""
        given = credentials(authorization)
        if given is None:
            return Verdict(401)
        name, password = given
        place = network(address)
        proven = (place, name) in self._addresses
        wait = 0 if (f"{address}:{port}", name) in self._connections else self._wait(name, place, proven)
        if wait:
            return Verdict(429, wait_s=wait)
        right = await self._right(name, password)
        if right is None:
            return Verdict(429, wait_s=1)
        if right:
            self._connections.add((f"{address}:{port}", name))
            self._addresses.add((place, name))
            return Verdict(200, name)
        for window, who in self._counted(name, place, proven):
            self._windows.hit(window, who)
        return Verdict(401)

    def _counted(self, name: str, place: str, proven: bool) -> list[tuple[RateLimitItemPerSecond, str]]:
        slot = str(zlib.crc32(place.encode()) % SLOTS)
        named = name if name in self._hashes else "nobody"
        return [(KNOWN, slot)] if proven else [(STRANGE, slot), (NAME, named)]

    def _wait(self, name: str, place: str, proven: bool) -> int:
        """Seconds until a guess from there is looked at; 0 when it is now."""
        full = [one for one in self._counted(name, place, proven) if not self._windows.test(*one)]
        ends = [self._windows.get_window_stats(*one).reset_time for one in full]
        return max(1, round(max(ends) - time.time()) + 1) if ends else 0

    async def _right(self, name: str, password: str) -> bool | None:
        """Whether this is the name's password; None when there is no time to find out."""
        mark = hmac.digest(self._key, password.encode(), "sha256")
        if name not in self._hashes:
            return False
        if name not in self._seen:
            if self._waiting >= QUEUE:
                return None
            self._waiting += 1
            try:
                async with self._one:
                    if name not in self._seen and await asyncio.to_thread(matches, password, self._hashes[name]):
                        self._seen[name] = mark
            finally:
                self._waiting -= 1
        return name in self._seen and hmac.compare_digest(self._seen[name], mark)


def credentials(authorization: str) -> tuple[str, str] | None:
    """Name and password of Basic authentication (RFC 7617), or None."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or len(encoded) > LONGEST:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def network(address: str) -> str:
    """Whom an address belongs to: of IPv6 its /64, which one host has whole."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:50]
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def hashed(password: str) -> str:
    """scrypt (RFC 7914) of a password with a salt of its own."""
    salt = secrets.token_hex(16)
    return f"{salt}:{_scrypt(password, salt)}"


def matches(password: str, hash_: str) -> bool:
    """Whether a hash is of this password; takes some 50 ms."""
    salt, _, wanted = hash_.partition(":")
    return hmac.compare_digest(_scrypt(password, salt), wanted)


def _scrypt(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=1 << 14, r=8, p=1, maxmem=1 << 26).hex()
