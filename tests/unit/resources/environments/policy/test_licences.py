"""SPDX expressions against the rules, and what installed packages state."""

from __future__ import annotations

from email.parser import HeaderParser
from pathlib import Path

import pytest

from egoworld_resources.environments.policy.licences import Excepted, LicenceRules, stated, stated_licences

RULES = LicenceRules(
    models=("MIT", "Apache-2.0"),
    packages=("MIT", "Apache-2.0", "BSD-3-Clause"),
    refused={"AGPL-3.0-only": "it reaches over the network"},
    told={"silent": "MIT"},
    excepted={"plotter": Excepted(licence="GPL-3.0-or-later", reason="a process of its own")},
)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("MIT", ""),
        ("mit or apache-2.0", ""),
        ("MIT AND Apache-2.0", ""),
        ("GPL-3.0-only OR MIT", ""),
        ("Apache-2.0 WITH LLVM-exception", ""),
        ("(GPL-3.0-only OR MIT) AND Apache-2.0", ""),
        ("GPL-3.0-only AND MIT", "'GPL-3.0-only' is not among the licences of models"),
        ("GPL-3.0-only OR MIT AND ISC", "'GPL-3.0-only' is not among the licences of models"),
        ("AGPL-3.0-only", "'AGPL-3.0-only' is refused: it reaches over the network"),
        ("MIT AND AGPL-3.0-only", "'MIT AND AGPL-3.0-only' is refused: it reaches over the network"),
        ("free for all", "'free for all' is no SPDX expression"),
    ],
)
def test_a_model_may_be_used_or_why_not(expression: str, why: str) -> None:
    assert RULES.of_model(expression) == why


def test_a_package_may_be_used_or_why_not() -> None:
    assert RULES.of_package("tiny", "BSD-3-Clause") == ""
    assert RULES.of_package("tiny", "") == "states no licence that can be read"
    assert RULES.of_package("silent", "") == "", "a person read it"
    assert "not among" in RULES.of_package("tiny", "GPL-3.0-or-later")
    assert RULES.of_package("plotter", "GPL-3.0-or-later") == ""
    assert "not among" in RULES.of_package("plotter", "GPL-2.0-only"), "another licence than the excepted one"


def test_without_lists_nothing_is_asked() -> None:
    assert LicenceRules().of_model("anything") == LicenceRules().of_package("tiny", "") == ""


@pytest.mark.parametrize(
    ("lines", "expression"),
    [
        ("License-Expression: MIT AND Zlib\nLicense: BSD", "MIT AND Zlib"),
        ("License: BSD 3-Clause License\n        Copyright (c) somebody", "BSD-3-Clause"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("Classifier: License :: OSI Approved :: MIT License\nClassifier: Programming Language :: Python", "MIT"),
        (
            (
                "Classifier: License :: OSI Approved :: BSD License\n"
                "Classifier: License :: OSI Approved :: Apache Software License"
            ),
            "Apache-2.0 AND BSD-3-Clause",
        ),
        ("License: see the file", ""),
    ],
)
def test_what_metadata_states(lines: str, expression: str) -> None:
    assert stated(HeaderParser().parsestr(f"Metadata-Version: 2.4\nName: tiny\n{lines}\n")) == expression


def test_every_installed_package_is_asked(tmp_path: Path) -> None:
    for name, licence in (("Tiny_Tool", "MIT"), ("other", "ISC")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\nLicense-Expression: {licence}\n\nText: x\n")
    assert stated_licences(tmp_path) == {("tiny-tool", "1.0"): "MIT", ("other", "1.0"): "ISC"}
