"""Which env needs what of the main project: what is shared, and where two cannot agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from egoworld_resources.workflow_envs.api.app import make_app
from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.backends import Declared
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.project_info import Needs, model_envs, project_needs, shared, workflow_envs
from made_fabric import made_config

ASKS, HAS = {"numpy": "==2.4.6", "scipy": ">=1", "rich": ""}, {"numpy": "2.4.6", "rich": "15"}
MAIN = Needs("main", "project", ">=3.11", ASKS, HAS)


def conflicts(asks: dict[str, str], has: dict[str, str]) -> dict[str, str]:
    env = Needs("env", "workflow", "3.11", asks, has)
    return {one.name: one.conflict for one in shared(MAIN, env)}


def test_only_what_the_project_declares_is_shared() -> None:
    assert conflicts({"numpy": ">=2"}, {"numpy": "2.4.6", "torch": "2.6"}) == {"numpy": ""}
    assert conflicts({}, {}) == {}


def test_both_sides_of_a_conflict_are_named() -> None:
    conflict = conflicts({"numpy": "<2"}, {"numpy": "1.26.4"})["numpy"]
    assert conflict == "the project asks ==2.4.6, the env has 1.26.4; the env asks <2, the project has 2.4.6"
    assert conflicts({}, {"numpy": "2.4.5"}) == {"numpy": "the project asks ==2.4.6, the env has 2.4.5"}


@pytest.mark.parametrize("version", ["", "0123456789ab", "15", "14/15", "99rc1"])
def test_any_version_fits_who_asks_for_none(version: str) -> None:
    assert conflicts({"rich": ""}, {"rich": version}) == {"rich": ""}


def test_an_env_of_a_workflow_says_when_it_is_damaged(tmp_path: Path) -> None:
    declared = Declared("3.11", ("NumPy>=2", "numpy<3"), {"numpy": "2.4.6"}, "", "")
    key = EnvKey("flow", "node")
    env = EnvFacts(key, "uv", tmp_path, tmp_path, "g", "damaged", "", 0, 0.0, declared)
    (needs,) = workflow_envs([env])
    assert (needs.name, needs.kind, needs.error) == ("flow/node", "workflow", "it is damaged")
    assert set(needs.asks["numpy"].split(",")) == {">=2", "<3"}


def test_the_envs_of_the_checkout(repository: Path) -> None:
    main = project_needs(repository)
    assert (main.name, main.error) == ("egoworld", "")
    envs = {env.name: env for env in model_envs(repository)}
    assert {"base", "mediapipe", "pycolmap"} <= envs.keys()
    assert not any(env.error for env in envs.values())
    assert any(one.name == "numpy" and one.conflict for one in shared(main, envs["mediapipe"]))
    assert not any(one.conflict for one in shared(main, envs["base"])), "it is the same interpreter"


def test_one_address_tells_all_of_it(tmp_path: Path, repository: Path) -> None:
    config, tokens = made_config(tmp_path), Tokens(tmp_path / "tokens")
    fabric = Fabric(config, {}, Operations(config.database_url))
    headers = {"Authorization": f"Bearer {tokens.create('ann', 'reader')}"}

    async def ask(project: Path) -> dict[str, Any]:
        inside = httpx.ASGITransport(make_app(fabric, tokens, project))
        async with httpx.AsyncClient(transport=inside, base_url="http://envs", headers=headers) as client:
            return (await client.get("/project-info")).json()

    info = anyio.run(ask, repository)
    assert info["name"] == "egoworld"
    assert info["locked_versions"]["numpy"]
    assert next(env for env in info["envs"] if env["env"] == "mediapipe")["conflicts"] > 0
    info = anyio.run(ask, tmp_path)
    assert "EGOWORLD_PROJECT" in info["error"]
    assert info["envs"] == []
