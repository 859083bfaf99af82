"""The tables of egoworld.toml about licences and rights in videos."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(_Table):
    """What a person read in a licence that SPDX does not know."""

    commercial: bool = Field(description="whether data made under it may be used commercially")
    reason: str = Field(min_length=1, description="where that is written, or who decided it")


class Correction(_Table):
    """Corrections to the declaration of an env. Missing fields stay as declared."""

    code: str | None = Field(default=None, description="licence of the model's code")
    outputs: str | None = Field(default=None, description="licence that its terms put on what it makes")
    weights: dict[str, str] = Field(default_factory=dict, description="licence by name or sha256 of weights")
    reason: str = Field(min_length=1, description="where the right one is written, or who decided it")


class LicenceTable(_Table):
    """[licences]"""

    terms: dict[str, Term] = Field(
        default_factory=dict, description="What single licences allow that SPDX does not know, by LicenseRef-... id."
    )
    corrections: dict[str, Correction] = Field(
        default_factory=dict, description="What a model env declares wrongly, by env or env/stage."
    )


class Given(_Table):
    """The rights in some videos."""

    licence: str = Field(description="SPDX expression, or LicenseRef-... for a contract of your own")
    source: str = Field(default="", description="who holds the rights, or where it is written")


class RightsTable(_Table):
    """[rights]"""

    default: Given | None = Field(default=None, description="Rights in videos of which nothing nearer is stated.")
    prefixes: dict[str, Given] = Field(
        default_factory=dict, description='Rights in videos below a folder or an uploader\'s prefix, such as "alice".'
    )
