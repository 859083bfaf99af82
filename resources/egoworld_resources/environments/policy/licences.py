"""Licences by SPDX expression: which ones the policy allows, and which one an installed package states.

What an expression allows is decided in egoworld_resources.licences; which licences an env may contain, here.
"""

from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field

from egoworld_resources.licences.expressions import canonical, holds, licences_of, parse

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "LicenseRef-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""Trove classifiers that packages used before SPDX; "BSD License" does not say which, all of them are permissive."""

TEXTS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "freebsd": "BSD-2-Clause",
    "gplv3+": "GPL-3.0-or-later",
    "isc license": "ISC",
    "mit license": "MIT",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "psfl": "PSF-2.0",
}
"""What authors wrote into the free field License; of a whole licence text its first line counts."""


class Excepted(BaseModel):
    """A package whose licence is not on the list and that may stay all the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: str = Field(description="SPDX expression; another one is a breach again")
    reason: str = Field(min_length=1)


class LicenceRules(BaseModel):
    """The table [licences] of the policy; an empty list allows everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = Field(default=(), description="SPDX ids that models and weights may have")
    packages: tuple[str, ...] = Field(default=(), description="SPDX ids that installed packages may have")
    refused: dict[str, str] = Field(default_factory=dict, description="SPDX ids never taken, each with its reason")
    told: dict[str, str] = Field(
        default_factory=dict, description="licence by package, where a person read it because the metadata is silent"
    )
    excepted: dict[str, Excepted] = Field(default_factory=dict, description="packages that may stay, with the reason")

    def of_model(self, licence: str) -> str:
        """Why a model or weights with this licence may not be used; "" when they may."""
        return _why_not(licence, self.models, self.refused, "models") if self.models else ""

    def of_package(self, name: str, stated: str) -> str:
        """Why a package with the licence that its metadata states ("" for none) may not be used; "" when it may."""
        if not self.packages:
            return ""
        licence = self.told.get(name, "") or stated
        if not licence:
            return "states no licence that can be read"
        excepted = self.excepted.get(name)
        if excepted and canonical(excepted.licence) == canonical(licence):
            return ""
        return _why_not(licence, self.packages, self.refused, "packages")

    def named_packages(self) -> set[str]:
        """Packages that the rules name; a name that no lock has any more is outdated."""
        return {*self.told, *self.excepted}


def _why_not(licence: str, allowed: tuple[str, ...], refused: dict[str, str], kind: str) -> str:
    if canonical(licence) is None:
        return f"'{licence}' is no SPDX expression"
    expression = parse(licence)
    if holds(expression, lambda one: one in allowed and one not in refused):
        return ""
    named = list(licences_of(expression))
    for one in named:
        if one in refused:
            return f"'{licence}' is refused: {refused[one]}"
    unknown = next((one for one in named if one not in allowed), licence)
    return f"'{unknown}' is not among the licences of {kind}"


def stated_licences(site_packages: Path) -> dict[tuple[str, str], str]:
    """The SPDX expression that each installed distribution states, "" where none can be read.

    Keys are canonical name and version.
    """
    found: dict[tuple[str, str], str] = {}
    for file in sorted(site_packages.glob("*.dist-info/METADATA")):
        message = HeaderParser().parsestr(file.read_text(encoding="utf-8", errors="replace"))
        found[canonicalize_name(message["Name"]), message["Version"]] = stated(message)
    return found


def stated(metadata: Message) -> str:
    """The SPDX expression of core metadata: License-Expression (PEP 639), else the older field, else classifiers."""
    for field in ("License-Expression", "License"):
        text = str(metadata[field] or "").strip().partition("\n")[0].strip()
        if found := canonical(TEXTS.get(text.casefold(), text)) if text else None:
            return found
    kinds = [str(value) for value in metadata.get_all("Classifier", []) if str(value).startswith("License ::")]
    known = [CLASSIFIERS[name] for kind in kinds if (name := kind.rpartition(" :: ")[2]) in CLASSIFIERS]
    return " AND ".join(sorted(set(known)))
