"""What licence names allow."""

from __future__ import annotations

import pytest

from egoworld_resources.dataset import Terms, terms


@pytest.mark.parametrize("name", ["Apache-2.0", "MIT", "bsd-3-clause", "MIT AND Apache-2.0", "CC-BY-NC-4.0 OR MIT"])
def test_commercial(name: str) -> None:
    assert terms(name) is Terms.COMMERCIAL


@pytest.mark.parametrize(
    "name", ["CC-BY-NC-4.0", "CC-BY-NC-SA-3.0", "Apache-2.0 AND CC-BY-NC-4.0", "MANO non-commercial", "research only"]
)
def test_non_commercial(name: str) -> None:
    assert terms(name) is Terms.NON_COMMERCIAL


@pytest.mark.parametrize("name", ["", "LicenseRef-something", "Apache-2.0 AND LicenseRef-x", "MITRE-licence"])
def test_an_unknown_name_is_never_taken_for_commercial(name: str) -> None:
    assert terms(name) is Terms.UNCLEAR
