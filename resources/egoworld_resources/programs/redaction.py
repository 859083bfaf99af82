"""Secrets that this process knows, removed from everything that is shown: answers, errors, audit rows, logs, output.

Known are the values of the server's .env and of our environment whose names say so, passwords inside addresses there
(DATABASE_URL, a proxy, an index), and whatever ``learn`` receives. Tokens of the API and passwords in any address are
taken out by their form. A secret is found as it is, percent-encoded, JSON- or HTML-escaped, as hexadecimal, and inside
base64 such as that of user:password.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TextIO, cast
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN: Final = "***"
SECRET_NAME: Final = re.compile(
    r"(?i)PASSW(OR)?D|PASSPHRASE|SECRET|(^|_)(TOKEN|PASS|API_?KEY|PRIVATE_KEY)(_|$)(?!(FILE|PATH|DIR)$)|_PWD$"
)
NO_SECRETS: Final = frozenset({"true", "false", "none", "null", "auto", "always", "never", "default"})
SHORTEST: Final = 4
"""Characters; what is shorter would be found in every text."""
SURE: Final = 8
"""Characters of base64 or hexadecimal that do not occur by chance."""
TOKEN: Final = re.compile(r"\bego_[A-Za-z0-9_-]{20,}")
LOGIN: Final = re.compile(r"://(?P<user>[^\s/?#@:\"'<>]*)(?P<rest>:[^\s/?#@\"'<>]*)?@")
HEADER: Final = re.compile(
    r"(?i)(authorization[\"']?\s{0,3}[:=,]\s{0,3}[\"']?(?:basic|bearer)\s{1,3})[A-Za-z0-9+/_.~-]+=*"
)
BASE64: Final = "[A-Za-z0-9+/_-]*"
ROUNDS: Final = 3
SLASHED: Final = re.compile(r"\\{1,8}([\"'\\/])")
ESCAPE: Final = re.compile(r"\\{1,8}(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")


class _Known:
    """What is secret now: files are read again when they changed, our environment each time."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._files: dict[Path, tuple[tuple[int, int] | None, frozenset[str]]] = {}

    def give(self, secrets: Iterable[str]) -> None:
        self._given |= {secret for secret in secrets if len(secret) >= SHORTEST}

    def watch(self, file: Path) -> None:
        self._files.setdefault(file, (None, frozenset()))

    def secrets(self) -> frozenset[str]:
        found = {*self._given, *secrets_of(os.environ)}
        for file in self._files:
            found |= self._of_file(file)
        return frozenset(found)

    def _of_file(self, file: Path) -> frozenset[str]:
        from dotenv import dotenv_values

        stamp, known = self._files[file]
        try:
            status = file.stat()
            if (status.st_mtime_ns, status.st_size) != stamp:
                values = dotenv_values(file, interpolate=False)
                known = known | frozenset(secrets_of({name: value or "" for name, value in values.items()}))
                self._files[file] = ((status.st_mtime_ns, status.st_size), known)
        except (OSError, UnicodeDecodeError):
            return known  # it is away or half written: what was known is still secret
        return known


_KNOWN = _Known()


def learn(*secrets: str) -> None:
    """These are secret from now on."""
    _KNOWN.give(secrets)


def learn_file(file: Path) -> None:
    """What a file of variables (.env) holds is secret from now on, also what it holds later."""
    _KNOWN.watch(file)


def redacted(text: str) -> str:
    """The text without secrets."""
    text = LOGIN.sub(_without_login, TOKEN.sub(HIDDEN, text))
    text = HEADER.sub(rf"\1{HIDDEN}", text)
    opened, lowered = _opened(text), text.lower()
    for secret in sorted(_KNOWN.secrets(), key=len, reverse=True):
        if secret in opened:
            text = _spelled(secret).sub(HIDDEN, text)
        for sign, pattern in _encoded(secret):
            if sign in text or sign in lowered:
                text = pattern.sub(HIDDEN, text)
    return text


def redacted_value(value: Any) -> Any:
    """The same for what JSON holds: texts in lists and tables, names of fields too."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        table = cast("Mapping[Any, Any]", value)
        return {redacted_value(name): redacted_value(one) for name, one in table.items()}
    if isinstance(value, list | tuple):
        return [redacted_value(one) for one in cast("Iterable[Any]", value)]
    return value


class RedactedStream:
    """A stream for text, such as standard output, that lets whole lines through without secrets."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._part = ""

    def write(self, text: str) -> int:
        self._part += text
        whole, newline, self._part = self._part.rpartition("\n")
        if newline:
            self._stream.write(redacted(whole) + newline)
        return len(text)

    def flush(self) -> None:
        """What is not yet a line stays back: half a secret would not be known as one."""
        self._stream.flush()

    def close(self) -> None:
        """Let the last line through; the stream itself stays open."""
        self._stream.write(redacted(self._part))
        self._part = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secrets_of(variables: Mapping[str, str]) -> Iterator[str]:
    """Values whose names say that they are secret, and passwords inside addresses."""
    for name, value in variables.items():
        if SECRET_NAME.search(name) and len(value) >= SHORTEST and value.lower() not in NO_SECRETS:
            yield value
        if "://" in value and ("@" in value or "password" in value):
            yield from (secret for secret in _passwords(value) if len(secret) >= SHORTEST)


def _passwords(address: str) -> Iterator[str]:
    """As they are written in an address, and as they are meant."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    passwords = [value for name, value in parse_qsl(parts.query) if "password" in name.lower()]
    user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
    for secret in [password if has_password else user, *passwords]:
        yield from (secret, unquote(secret))


def _without_login(found: re.Match[str]) -> str:
    if found["rest"] == f":{HIDDEN}":
        return found[0]
    return f"://{HIDDEN}@"


def _opened(text: str) -> str:
    """The text with percent, JSON and HTML escapes undone, as often as they are nested; only to look for secrets in."""
    forms = [text]
    for start in {text, text.replace("+", " ")} if "%" in text or "+" in text else {text}:
        last = start
        for _ in range(ROUNDS):
            fresh = unquote(last)
            forms.append(fresh)
            fresh = ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), fresh)
            fresh = html.unescape(SLASHED.sub(r"\1", fresh))
            forms.append(fresh)
            if fresh == last:
                break
            last = fresh
    return "\n".join(forms)


@lru_cache(256)
def _spelled(secret: str) -> re.Pattern[str]:
    """A secret, each character of it as it is or escaped in one of the ways."""
    return re.compile("".join(_character(one) for one in secret))


def _character(one: str) -> str:
    code, written = ord(one), re.escape(one)
    percent = "".join(rf"%(?:25)*{byte:02x}" for byte in one.encode("utf-8", "surrogatepass"))
    ways = [
        rf"\\{{0,8}}{written}",
        rf"(?i:{percent})",
        rf"(?i:\\{{1,8}}u{code:04x})",
        rf"(?i:&#(?:0*{code}|x0*{code:x});)",
    ]
    ways += [rf"(?i:\\{{1,8}}x{code:02x})"] if code < 256 else []
    ways += [r"\+"] if one == " " else []
    ways += [re.escape(html.escape(one))] if html.escape(one) != one else []
    return f"(?:{'|'.join(ways)})"


@lru_cache(256)
def _encoded(secret: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """What a text holds if a secret is in it as hexadecimal or inside base64, and what to remove then."""
    raw = secret.encode("utf-8", "surrogatepass")
    found: list[tuple[str, re.Pattern[str]]] = []
    if len(raw.hex()) >= SURE:
        found.append((raw.hex(), re.compile(raw.hex(), re.IGNORECASE)))
    for before in range(3):  # the bytes before it shift its bits
        whole = base64.b64encode(b"\0" * before + raw).decode()
        middle = whole[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        if len(middle) >= SURE:
            signs = {middle, middle.replace("+", "-").replace("/", "_")}
            found += [(sign, re.compile(f"{BASE64}{re.escape(sign)}{BASE64}=*")) for sign in signs]
    return tuple(found)
