"""Bearer tokens: what the file holds, who it lets in, and when that ends."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.workflow_envs.api.tokens import PREFIX, Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "tokens.json")


def test_a_token_is_known_by_its_text_and_the_file_does_not_hold_it(tokens: Tokens) -> None:
    text = tokens.create("ann", "writer")
    assert text.startswith(PREFIX)
    assert len(text) > 40
    found = tokens.whose(text)
    assert found is not None
    assert (found.name, found.role) == ("ann", "writer")
    assert text not in tokens.file.read_text()
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600
    assert [file.name for file in tokens.file.parent.iterdir() if file.suffix != ".lock"] == ["tokens.json"]


@pytest.mark.parametrize("text", ["", "ego_", "nothing", "é" * 1000, "\udc80"])
def test_other_texts_let_nobody_in(tokens: Tokens, text: str) -> None:
    assert tokens.whose(text) is None
    made = tokens.create("ann", "reader")
    assert tokens.whose(text) is None
    assert tokens.whose(made[:-1]) is None
    entry = json.loads(tokens.file.read_text())["tokens"][0]
    assert tokens.whose(entry["sha256"]) is None, "what the file says lets nobody in"


def test_another_process_revokes_and_it_counts_at_once(tokens: Tokens) -> None:
    ann, bob = tokens.create("ann", "writer"), tokens.create("bob", "reader")
    assert tokens.whose(ann)
    Tokens(tokens.file).revoke("ann")
    assert tokens.whose(ann) is None
    assert tokens.whose(bob)
    with pytest.raises(UnknownName, match="bob"):
        tokens.revoke("ann")


@pytest.mark.parametrize(
    ("name", "role", "message"), [("a b", "reader", "a b"), ("", "reader", "''"), ("x", "god", "god")]
)
def test_names_and_roles_are_asked_for(tokens: Tokens, name: str, role: str, message: str) -> None:
    with pytest.raises(BadConfiguration, match=message):
        tokens.create(name, role)
    assert not tokens.file.exists()


def test_a_name_is_given_once(tokens: Tokens) -> None:
    text = tokens.create("ann", "reader")
    with pytest.raises(BadConfiguration, match="already"):
        tokens.create("ann", "writer")
    assert tokens.whose(text)


def test_a_file_that_others_may_read_is_refused(tokens: Tokens) -> None:
    text = tokens.create("ann", "reader")
    tokens.file.chmod(0o644)
    with pytest.raises(BadConfiguration, match="chmod 600"):
        Tokens(tokens.file).whose(text)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tokens": [{"name": "x"}]}', '{"tokens": 1}'])
def test_a_damaged_file_is_named(tokens: Tokens, content: str) -> None:
    tokens.file.write_text(content)
    tokens.file.chmod(0o600)
    with pytest.raises(BadConfiguration, match="not a file of tokens"):
        tokens.all()
