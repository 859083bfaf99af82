"""SPDX licence expressions, read by `license-expression`: https://spdx.github.io/spdx-spec, annex D."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any

from boolean import AND, ParseError
from license_expression import (
    ExpressionError,
    LicenseExpression,
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_spdx_licensing,
)

LONGEST = 2000
"""Characters of an expression that is read; the longest that packages state have a few hundred."""


class NotSpdx(ValueError):
    """A text is not an SPDX expression; the message explains why."""


def parse(text: str) -> LicenseExpression:
    """A text as an expression; unknown ids stay as they were written.

    Names are taken in any case and ids of former SPDX lists as today's. Raises NotSpdx for an empty text, for words
    that no operator joins ("MIT License") and for anything else that the grammar does not have.
    """
    if not text.strip():
        raise NotSpdx("it is empty")
    if len(text) > LONGEST:
        raise NotSpdx(f"it has {len(text)} characters, at most {LONGEST} are read")
    try:
        found: Any = _spdx().parse(" ".join(text.split()))
    except (ExpressionError, ParseError, IndexError, RecursionError) as error:
        raise NotSpdx(f"'{_short(text)}' is not an SPDX expression") from error
    if found is None or any(" " in name for name in ids(found)):
        raise NotSpdx(f"'{_short(text)}' is free text, not an SPDX expression")
    return found


def canonical(text: str) -> str | None:
    """The expression as SPDX writes it; None unless every id in it is on the SPDX list or a LicenseRef."""
    try:
        found = parse(text)
    except NotSpdx:
        return None
    return str(found) if all(_written(symbol) for symbol in symbols(found)) else None


def symbols(expression: LicenseExpression) -> Iterator[LicenseSymbol | LicenseWithExceptionSymbol]:
    """The licences of an expression in the order of the text; one WITH an exception is one."""
    if isinstance(expression, (LicenseSymbol, LicenseWithExceptionSymbol)):
        yield expression
    for part in expression.args:
        yield from symbols(part)


def ids(expression: LicenseExpression) -> Iterator[str]:
    """The ids of an expression, those of exceptions among them."""
    for symbol in symbols(expression):
        if isinstance(symbol, LicenseWithExceptionSymbol):
            yield symbol.license_symbol.key
            yield symbol.exception_symbol.key
        else:
            yield symbol.key


def licences_of(expression: LicenseExpression) -> Iterator[str]:
    """The ids of the licences of an expression, without exceptions."""
    for symbol in symbols(expression):
        yield symbol.license_symbol.key if isinstance(symbol, LicenseWithExceptionSymbol) else symbol.key


def holds(expression: LicenseExpression, allowed: Callable[[str], bool]) -> bool:
    """Whether a choice among the ORs of an expression needs only allowed licences; exceptions (WITH) are ignored."""
    if isinstance(expression, LicenseWithExceptionSymbol):
        return allowed(expression.license_symbol.key)
    if isinstance(expression, LicenseSymbol):
        return allowed(expression.key)
    each = (holds(part, allowed) for part in expression.args)
    return all(each) if isinstance(expression, AND) else any(each)


def base_of(name: str) -> str:
    """An id without the + that means "or a later version", where SPDX has no id of its own for that."""
    return name[:-1] if name.endswith("+") and category(name) is None else name


def category(name: str) -> str | None:
    """The kind of licence or exception that an id of the SPDX list has in ScanCode; None for another name."""
    return _categories().get(name.casefold())


def is_own(name: str) -> bool:
    """Whether a name is a reference to a licence that no list has: LicenseRef-..., also of another document."""
    return name.rpartition(":")[2].casefold().startswith("licenseref-")


def is_exception(symbol: LicenseSymbol) -> bool:
    """Whether an id names an exception alone; ids of former lists held a licence too ("GPL-2.0-with-...")."""
    return bool(symbol.is_exception) and "-with-" not in symbol.key


def _written(symbol: LicenseSymbol | LicenseWithExceptionSymbol) -> bool:
    if isinstance(symbol, LicenseWithExceptionSymbol):
        exception = symbol.exception_symbol
        return _written(symbol.license_symbol) and is_exception(exception) and category(exception.key) is not None
    return not is_exception(symbol) and (category(base_of(symbol.key)) is not None or is_own(symbol.key))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


@lru_cache(1)
def _spdx() -> Licensing:
    return get_spdx_licensing()


@lru_cache(1)
def _categories() -> dict[str, str]:
    index = (files("license_expression") / "data" / "scancode-licensedb-index.json").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for entry in json.loads(index):
        for name in (entry.get("spdx_license_key"), *entry["other_spdx_license_keys"]):
            if name and not name.startswith("LicenseRef-"):
                found[name.casefold()] = entry["category"]
    return found
