"""What a licence allows: one answer for the card, the export, the lineage and the rules of model envs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from boolean import AND
from license_expression import LicenseExpression, LicenseSymbol, LicenseWithExceptionSymbol

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.licences.expressions import NotSpdx, base_of, category, ids, is_exception, is_own, parse
from egoworld_resources.licences.tables import Term


class Terms(StrEnum):
    """Whether data made under a licence may be used commercially; only COMMERCIAL is a yes."""

    COMMERCIAL = "commercial"
    UNCLEAR = "unclear"
    NON_COMMERCIAL = "non-commercial"


RANK = {Terms.NON_COMMERCIAL: 0, Terms.UNCLEAR: 1, Terms.COMMERCIAL: 2}

ALLOWS = {"Permissive", "Public Domain", "Copyleft", "Copyleft Limited"}
"""Kinds of SPDX licences that allow commercial use. Copyleft does: it asks that others get the same rights."""

SHARE_ALIKE = {"Copyleft", "Copyleft Limited"}

NOT_FOR_TRADE = re.compile(r"(^|[^a-z])(nc|ncgl|nd|non-?commercial)([^a-z]|$)", re.IGNORECASE)
"""Parts of SPDX ids: not for trade, or no derivatives, and what is made from a video is a derivative."""

RESTRICTED = re.compile(
    r"(^|[^a-z])(nc|non[- _]?commercial|not for commercial|research|academic|education(al)?|evaluation|personal use"
    r"|mano|smpl([-_ ]?[xh])?|flame|llama|proprietary)([^a-z]|$)",
    re.IGNORECASE,
)
"""Words in names that SPDX does not know: families that forbid trade, or allow it on terms that a person must read."""


@dataclass(frozen=True)
class Judgement:
    """What an expression allows. term: the licence in it that decides; reason: why, in words."""

    terms: Terms
    term: str
    reason: str

    @property
    def commercial(self) -> bool:
        """Whether data made under it may be used commercially."""
        return self.terms is Terms.COMMERCIAL


@dataclass(frozen=True)
class Licensing:
    """The judge. own: configured terms of single ids, mostly LicenseRef-....

    Raises BadConfiguration when that allows what SPDX knows to be forbidden.
    """

    own: Mapping[str, Term] = field(default_factory=dict[str, Term])

    def __post_init__(self) -> None:
        for name, term in self.own.items():
            if " " in name or not name:
                raise BadConfiguration(
                    f"[licences.terms] '{name}' must be one licence id, such as LicenseRef-Contract-7"
                )
            if term.commercial and category(base_of(name)) is not None and NOT_FOR_TRADE.search(name):
                raise BadConfiguration(
                    f"[licences.terms] {name} forbids commercial use in any reading; if you have another "
                    "licence, name that where it applies ([licences.corrections], `egoworld rights`): LicenseRef-..."
                )

    def judge(self, licence: str | Iterable[str]) -> Judgement:
        """What a licence allows; of several, all must hold.

        OR: it is commercial if one branch is. AND: if all are. An exception (WITH) that SPDX knows only adds rights.
        An unknown id, free text and no licence at all never count as commercial.
        """
        if not isinstance(licence, str):
            every = [self.judge(one) for one in licence] or [self.judge("")]
            return min(every, key=lambda one: RANK[one.terms])
        try:
            return self._of(parse(licence))
        except NotSpdx as error:
            text = licence.strip()
            terms = Terms.NON_COMMERCIAL if RESTRICTED.search(text) else Terms.UNCLEAR
            return Judgement(terms, text or "none", "no licence is named" if not text else str(error))

    def share_alike(self, licence: str) -> list[str]:
        """Ids in an expression that ask for the same licence on what is handed on."""
        try:
            return sorted({name for name in ids(parse(licence)) if category(base_of(name)) in SHARE_ALIKE})
        except NotSpdx:
            return []

    def _of(self, expression: LicenseExpression) -> Judgement:
        if isinstance(expression, LicenseWithExceptionSymbol):
            return self._with_exception(expression)
        if isinstance(expression, LicenseSymbol):
            return self._one(expression)
        choose: Callable[..., Judgement] = min if isinstance(expression, AND) else max
        return choose((self._of(part) for part in expression.args), key=lambda one: RANK[one.terms])

    def _with_exception(self, symbol: LicenseWithExceptionSymbol) -> Judgement:
        whole, exception = f"{symbol.license_symbol.key} WITH {symbol.exception_symbol.key}", symbol.exception_symbol
        own = self._own.get(exception.key.casefold())
        known = is_exception(exception) and category(exception.key) in ALLOWS
        judged = self._one(symbol.license_symbol)
        if own or known or not judged.commercial:
            refused = own is not None and not own.commercial
            return Judgement(Terms.NON_COMMERCIAL, whole, own.reason) if own and refused else judged
        return Judgement(Terms.UNCLEAR, whole, f"SPDX knows no exception {exception.key}: it may take rights away")

    def _one(self, symbol: LicenseSymbol) -> Judgement:
        name = symbol.key
        own = self._own.get(name.casefold())
        if own:
            return Judgement(Terms.COMMERCIAL if own.commercial else Terms.NON_COMMERCIAL, name, own.reason)
        kind = category(base_of(name))
        if kind is None:
            return _unknown(name)
        if is_exception(symbol):
            return Judgement(Terms.UNCLEAR, name, "it is an exception, not a licence")
        if NOT_FOR_TRADE.search(name):
            return Judgement(
                Terms.NON_COMMERCIAL, name, "it forbids commercial use, or to hand on what is made from it"
            )
        if kind in ALLOWS:
            return Judgement(Terms.COMMERCIAL, name, f"{kind.lower()}: commercial use is allowed")
        return Judgement(Terms.UNCLEAR, name, f"it restricts use ({kind.lower()}); {CONFIGURE}")

    @cached_property
    def _own(self) -> dict[str, Term]:
        return {name.casefold(): term for name, term in self.own.items()}


CONFIGURE = "say under [licences.terms] what it allows once somebody has read it"


def _unknown(name: str) -> Judgement:
    if RESTRICTED.search(name.replace("LicenseRef-", "").replace("_", "-")):
        return Judgement(Terms.NON_COMMERCIAL, name, f"licences of this name restrict commercial use; {CONFIGURE}")
    what = "a licence that no list has" if is_own(name) else "not a licence that SPDX knows"
    return Judgement(Terms.UNCLEAR, name, f"{what}; {CONFIGURE}")
