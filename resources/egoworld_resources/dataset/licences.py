"""What a licence allows, judged by its name alone."""

from __future__ import annotations

import re
from enum import StrEnum


class Terms(StrEnum):
    """Whether data made under a licence may be used commercially."""

    COMMERCIAL = "commercial"
    NON_COMMERCIAL = "non-commercial"
    UNCLEAR = "unclear"


NON_COMMERCIAL = re.compile(r"(^|[^a-z])(nc|non-?commercial|research[- ]only|research[- ]use|academic)([^a-z]|$)")

COMMERCIAL = re.compile(
    r"^(0bsd|apache-2\.0|bsd-[23]-clause.*|bsl-1\.0|cc0-1\.0|cc-by-[34]\.0|cc-by-sa-[34]\.0|isc|mit|mit-0|mpl-2\.0|psf-2\.0"
    r"|l?gpl-[23]\.[01](-only|-or-later)?|unlicense|zlib)$"
)
"""SPDX identifiers that allow commercial use of what is made with the software or from the data."""


def terms(licence: str) -> Terms:
    """The terms of one licence; ``AND`` and ``OR`` as in SPDX expressions. A name that is not known is UNCLEAR."""
    alternatives = re.split(r"\s+or\s+", licence.strip(), flags=re.IGNORECASE)
    return min((_all_of(part) for part in alternatives), key=list(Terms).index)


def _all_of(expression: str) -> Terms:
    parts = re.split(r"\s+and\s+", expression, flags=re.IGNORECASE)
    found = {_one(part.strip(" ()").lower()) for part in parts}
    for worst in (Terms.NON_COMMERCIAL, Terms.UNCLEAR):
        if worst in found:
            return worst
    return Terms.COMMERCIAL


def _one(name: str) -> Terms:
    if NON_COMMERCIAL.search(name):
        return Terms.NON_COMMERCIAL
    return Terms.COMMERCIAL if COMMERCIAL.match(name) else Terms.UNCLEAR
