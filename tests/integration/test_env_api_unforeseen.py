"""An error that nobody foresaw: one shape, nothing of it in the answer, all of it in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from egoworld_resources.workflow_envs.api.app import make_app
from egoworld_resources.workflow_envs.api.tokens import Tokens
from made_fabric import made_fabric


class Broken:
    """A backend that does what none does."""

    name = "conda"
    files: Sequence[str] = ("conda.toml",)

    def start(self, *_: Any) -> None:
        raise RuntimeError("the secret of the machine")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.mark.anyio
async def test_it_is_listed_without_a_word_of_it(tmp_path: Path, uv: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken: Any = Broken()
    fabric = made_fabric(tmp_path, uv, more={"conda": broken})
    tokens = Tokens(tmp_path / "tokens.json")
    headers = {"Authorization": f"Bearer {tokens.create('ann', 'writer')}"}
    inside = httpx.ASGITransport(make_app(fabric, tokens), raise_app_exceptions=False)
    form = {"workflow_id": "a", "node_id": "b", "backend": "conda"}
    with caplog.at_level(logging.ERROR):
        async with httpx.AsyncClient(transport=inside, base_url="http://envs", headers=headers) as client:
            answer = await client.post("/envs", data=form)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "INTERNAL_ERROR"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert error["details"]["mark"] in caplog.text
    assert "the secret of the machine" in caplog.text
    assert [(one.action, one.result) for one in fabric.operations.history()] == [("create", "INTERNAL_ERROR")]
    assert fabric.list() == []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
