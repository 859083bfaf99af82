"""Which addresses packages may be fetched from: public ones, and those of this network that the policy lists.

A user of the service names hosts; the service reaches more than they do: its own loopback, the machines beside it, the
metadata server of a cloud. Those are refused by what a name resolves to, however it is spelled.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\]")
"""A name, an IPv4 address in any spelling, or an IPv6 address in brackets: no user, no escapes, no other alphabet."""
PORTS = {"http": 80, "https": 443}
NAT64 = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PrivateAddress(ValueError):
    """A host is, or resolves to, an address of this machine or of its own network, and nobody listed it."""


class Unresolved(ValueError):
    """A name that has no address."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host (lower case, without a trailing dot or brackets) and port of an address."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Of http and https addresses. Raises ValueError for another scheme, or a host that is not plainly written."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS:
            raise ValueError(f"{parts.scheme or 'no scheme'} is not http or https")
        written = _written_host(parts)
        if not HOST.fullmatch(written):
            raise ValueError("the host is not plainly written: a name or an address, without user, password or escapes")
        host = written.strip("[]").lower().rstrip(".")
        return cls(parts.scheme, host, parts.port or PORTS[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def _written_host(parts: SplitResult) -> str:
    """As written in the address, with the brackets of IPv6."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::\d{1,5})?", parts.netloc)
    return found[1] if found else ""


def listed(origin: Origin, private: Iterable[str]) -> bool:
    """Whether the policy lists an origin: as scheme://host:port, by its host, or by a network around its address."""
    for entry in private:
        if "://" in entry:
            if Origin.of(entry) == origin:
                return True
        elif "/" in entry:
            own = _literal(origin.host)
            network = ipaddress.ip_network(entry, strict=False)
            if own is not None and own.version == network.version and own in network:
                return True
        elif entry.lower().strip("[]").rstrip(".") == origin.host:
            return True
    return False


def checked_source(text: str) -> str:
    """An entry of the policy: scheme://host:port, a host, or a network such as 10.1.0.0/16; raises ValueError."""
    if "://" in text:
        Origin.of(text)
        if urlsplit(text).path not in ("", "/"):
            raise ValueError(f"'{text}' must end after the port: a whole server is listed, not a path")
    elif "/" in text:
        ipaddress.ip_network(text, strict=False)
    else:
        Origin.of(f"https://[{text}]/" if ":" in text else f"https://{text}/")
    return text


def reachable(origin: Origin, private: Iterable[str]) -> tuple[str, ...]:
    """The addresses of an origin, all of them allowed.

    private: entries of the policy. Raises PrivateAddress for an address of this machine or its network that is not
    listed, Unresolved for a name without an address.
    """
    known = tuple(private)
    found = _resolved(origin)
    if listed(origin, known):
        return found
    networks = [ipaddress.ip_network(entry, strict=False) for entry in known if "/" in entry and "://" not in entry]
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        if _private(address) and not any(address.version == one.version and address in one for one in networks):
            raise PrivateAddress(f"{origin.host} is an address of this machine or of its own network")
    return found


def _resolved(origin: Origin) -> tuple[str, ...]:
    try:
        answers = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{origin.host} has no address: {error}") from error
    return tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _literal(host: str) -> Address | None:
    """The address that a host is written as: also 127.1, 2130706433 and 0x7f000001, as every client reads them."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if re.fullmatch(r"[0-9a-fx.]+", host) else None
    except OSError:
        return None


def _private(address: Address) -> bool:
    """Whether an address, or the IPv4 address inside it, is not one of the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if any(address in network for network in NAT64) or int(address) >> 32 == 0:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and _private(inner):
            return True
    return not address.is_global or address.is_multicast
