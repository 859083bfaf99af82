"""What is taken out of texts, and what stays."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from egoworld_resources.programs.redaction import learn_file, redacted, redacted_value, secrets_of

SECRET = 'pa"s\\s+w w@rd/ü&42%'

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "percent but slashes": quote,
    "form": quote_plus,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "Python": repr,
    "HTML": html.escape,
    "hexadecimal": lambda text: text.encode().hex(),
    "base64 of a login": lambda text: base64.b64encode(f"ann:{text}".encode()).decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(f"somebody:{text}!".encode()).decode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_secret_is_taken_out_however_it_is_written(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    written = ENCODINGS[encoding](SECRET)
    left = redacted(f"before {written} after")
    assert written not in left
    assert left.startswith("before ")
    assert left.endswith(" after")
    assert "***" in left


def test_logins_and_tokens_go_by_their_form() -> None:
    token = "ego_" + "a" * 43
    assert redacted(f"git+https://ann:pw@host/x {token}") == "git+https://***@host/x ***"
    assert redacted("https://onlytoken@host/x") == "https://***@host/x"
    assert redacted("postgresql://ann:***@host/db") == "postgresql://ann:***@host/db"
    assert redacted('"Authorization": "Basic YW5uOnB3"') == '"Authorization": "Basic ***"'


def test_what_is_no_secret_stays() -> None:
    commit = "https://host/x@" + "a" * 40
    for text in (commit, "a basic understanding of bearer authentication", '{"a": false, "b": null}', "me@home"):
        assert redacted(text) == text
    variables = {
        "TOKENIZERS_PARALLELISM": "false",
        "PWD": "/srv/ann",
        "HF_TOKEN_PATH": "/x/token",
        "USE_TOKEN": "true",
    }
    assert [*secrets_of({**variables, "S3_ACCESS_KEY": "egoworld"})] == []
    assert [*secrets_of({"PGPASSWORD": "geheim", "URL": "http://a:b%20cd@h/"})] == ["geheim", "b%20cd", "b cd"]


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    learn_file(file)
    file.write_text("A_PASSWORD=first-of-all\n")
    assert redacted("first-of-all") == "***"
    file.write_text("A_PASSWORD=second-after-it\n")
    assert redacted("first-of-all second-after-it") == "*** ***"
    assert redacted_value({"first-of-all": ["second-after-it", 1]}) == {"***": ["***", 1]}
