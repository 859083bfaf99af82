"""What licences allow: single ones, expressions, what nobody knows, and what the configuration says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.licences import Licensing, Term, Terms

CONTRACT = {"LicenseRef-Contract-7": Term(commercial=True, reason="contract of 2026-03-01, section 4")}
JUDGE = Licensing(CONTRACT)

LEAVES = {
    "MIT": True,
    "Apache-2.0": True,
    "Apache-2.0+": True,
    "GPL-3.0-or-later": True,
    "AGPL-3.0": True,
    "CC-BY-SA-4.0": True,
    "Apache-2.0 WITH LLVM-exception": True,
    "LicenseRef-Contract-7": True,
    "CC-BY-NC-4.0": False,
    "CC-BY-NC-SA-3.0": False,
    "CC-BY-ND-4.0": False,
    "CC-BY-NC-4.0 WITH LLVM-exception": False,
    "MIT WITH LicenseRef-Restrictions": False,
    "LicenseRef-MANO": False,
    "LicenseRef-Other": False,
    "Nobody-Knows-1.0": False,
    "BUSL-1.1": False,
}
Tree = tuple[str, list["Tree"]]
"""AND or OR with what it joins, or a licence with nothing."""

trees = some.recursive(
    some.sampled_from(sorted(LEAVES)).map(lambda name: (name, [])),
    lambda below: some.tuples(some.sampled_from(["AND", "OR"]), some.lists(below, min_size=2, max_size=4)),
    max_leaves=12,
)


def written(tree: Tree, draw: some.DataObject, inside: str = "") -> str:
    """A tree as text: in any case and spacing, with the brackets that it needs and sometimes more."""
    name, below = tree
    if not below:
        text = draw.draw(some.sampled_from([name, name.lower(), name.upper() if " WITH " not in name else name]))
    else:
        operator = draw.draw(some.sampled_from([name, name.lower(), name.title()]))
        space = draw.draw(some.sampled_from([" ", "  ", "\n"]))
        text = f"{space}{operator}{space}".join(written(part, draw, name) for part in below)
    needs = bool(below) and name == "OR" and inside == "AND"
    return f"({text})" if needs or draw.draw(some.booleans()) else text


def choices(tree: Tree) -> Iterator[set[str]]:
    """Every set of licences that one may choose to follow: of an OR one branch, of an AND one choice of each."""
    name, below = tree
    if not below:
        yield {name}
    elif name == "OR":
        yield from itertools.chain.from_iterable(choices(part) for part in below)
    else:
        for picked in itertools.product(*(list(choices(part)) for part in below)):
            yield set[str]().union(*picked)


@given(trees, some.data())
def test_an_expression_is_commercial_if_some_choice_of_it_is(tree: Tree, draw: some.DataObject) -> None:
    expected = any(all(LEAVES[name] for name in choice) for choice in choices(tree))
    judged = JUDGE.judge(written(tree, draw))
    assert judged.commercial is expected, judged
    assert judged.term.casefold() in written_terms(tree), "what decides is one of the licences in it"


def written_terms(tree: Tree) -> set[str]:
    """The licences of a tree, as a judgement may name them."""
    name, below = tree
    own = {name, name.partition(" WITH ")[0], "AGPL-3.0-only"} if not below else set[str]()
    return {one.casefold() for one in own}.union(*(written_terms(part) for part in below))


@pytest.mark.parametrize(
    "name",
    [
        "Apache-2.0", "MIT", "bsd-3-clause", "MIT AND Apache-2.0", "CC-BY-NC-4.0 OR MIT", "CC0-1.0", "CC-BY-4.0",
        "GPL-2.0", "GPL-2.0+", "GPL-3.0-or-later", "LGPL-2.1-only", "Apache-2.0+", "GPL-2.0-with-classpath-exception",
        "GPL-2.0-only WITH Classpath-exception-2.0", "mit or apache-2.0", "(((MIT)))", "LicenseRef-Contract-7",
        "licenseref-contract-7", "CC-BY-SA-4.0", "LicenseRef-Other OR MIT", "BSD-2-Clause-FreeBSD", "NCSA",
        "MIT OR CC-BY-NC-4.0 AND LicenseRef-Other", "Unlicense", "ODbL-1.0",
    ],
)  # fmt: skip
def test_commercial(name: str) -> None:
    assert JUDGE.judge(name).terms is Terms.COMMERCIAL


@pytest.mark.parametrize(
    "name",
    [
        "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0", "Apache-2.0 AND CC-BY-NC-4.0", "MANO non-commercial", "research only",
        "CC-BY-NC-4.0 AND (MIT OR Apache-2.0)", "(MIT OR Apache-2.0) AND CC-BY-NC-4.0", "cc-by-nc-4.0",
        "CC-BY-NC-4.0+", "CC-BY-NC", "CC BY-NC 4.0", "CC-BY-ND-4.0", "PolyForm-Noncommercial-1.0.0",
        "LicenseRef-MANO", "SMPL-X",
        "smplh", "LicenseRef-Llama-3-Community", "Llama3", "academic use", "LicenseRef-NVIDIA-Research",
        "proprietary",
        "CC-BY-NC-4.0 WITH LLVM-exception", "NCGL-UK-2.0", "not for commercial use", "MIT OR research only",
    ],
)  # fmt: skip
def test_non_commercial(name: str) -> None:
    assert JUDGE.judge(name).terms is Terms.NON_COMMERCIAL


@pytest.mark.parametrize(
    "name",
    [
        "", "  ", "LicenseRef-something", "Apache-2.0 AND LicenseRef-x", "MITRE-licence", "MIT License",
        "MIT, Apache-2.0", "MIT/Apache-2.0", "MIT AND", "MIT AND (ISC", "()", "NONE", "NOASSERTION",
        "UNLICENSED", "NOT MIT", "!MIT",
        "МIT", "BUSL-1.1", "Hippocratic-2.1", "any-OSI", "LLVM-exception", "MIT WITH MIT",
        "Apache-2.0 WITH Commons-Clause", "free for all", "DocumentRef-a:LicenseRef-b", "commercial",
        "see LICENSE", "MIT" * 1000, "(" * 5000 + "MIT",
    ],
)  # fmt: skip
def test_what_nobody_knows_is_never_taken_for_commercial(name: str) -> None:
    judged = JUDGE.judge(name)
    assert judged.terms is Terms.UNCLEAR
    assert judged.reason


def test_of_several_licences_all_must_hold() -> None:
    assert JUDGE.judge(["MIT", "ISC"]).commercial
    assert JUDGE.judge(["MIT", "CC-BY-NC-4.0", "LicenseRef-x"]).term == "CC-BY-NC-4.0"
    assert JUDGE.judge([]).terms is Terms.UNCLEAR


def test_what_decides_is_named_with_the_reason() -> None:
    judged = JUDGE.judge("CC-BY-NC-4.0 AND (MIT OR Apache-2.0)")
    assert (judged.term, "forbids commercial use" in judged.reason) == ("CC-BY-NC-4.0", True)
    assert JUDGE.judge("LicenseRef-Contract-7").reason == "contract of 2026-03-01, section 4"
    assert "[licences.terms]" in JUDGE.judge("LicenseRef-New").reason


def test_the_configuration_decides_what_spdx_does_not_know_and_may_be_stricter() -> None:
    own = {
        "LicenseRef-Llama-3": Term(commercial=True, reason="we have fewer than 700 million users"),
        "CC-BY-SA-4.0": Term(commercial=False, reason="our customers do not take share-alike"),
    }
    judge = Licensing(own)
    assert judge.judge("LicenseRef-Llama-3 AND MIT").commercial
    assert not judge.judge("cc-by-sa-4.0").commercial
    with pytest.raises(BadConfiguration, match="forbids commercial use in any reading"):
        Licensing({"CC-BY-NC-4.0": Term(commercial=True, reason="we would like to")})
    with pytest.raises(BadConfiguration, match="must be one licence id"):
        Licensing({"any words": Term(commercial=True, reason="no")})


def test_share_alike_is_allowed_and_shown() -> None:
    assert JUDGE.judge("CC-BY-SA-4.0").commercial
    assert JUDGE.share_alike("MIT AND (CC-BY-SA-4.0 OR ODbL-1.0)") == ["CC-BY-SA-4.0", "ODbL-1.0"]
    assert JUDGE.share_alike("MIT") == JUDGE.share_alike("any words") == []
