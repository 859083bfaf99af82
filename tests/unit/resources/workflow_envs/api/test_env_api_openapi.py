"""What OpenAPI says of the API, and what the page may do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.workflow_envs.api.app import make_app
from egoworld_resources.workflow_envs.api.page.page import FILES, FOLDER
from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.fabric import Fabric
from made_fabric import made_config

ENV = "/envs/{workflow_id}/{node_id}"
SEED = {
    ("/envs", "post"),
    (f"{ENV}/export", "get"),
    (f"{ENV}/sync", "post"),
    (f"{ENV}/deps", "post"),
    (f"{ENV}/deps", "delete"),
    (f"{ENV}/deps", "get"),
    (f"{ENV}/run", "post"),
}
"""The endpoints of the original requirements."""
IMPLIED = {
    ("/envs", "get"),
    (ENV, "get"),
    (ENV, "put"),
    (ENV, "delete"),
    ("/envs/cleanup", "post"),
    ("/operations", "get"),
}


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    config = made_config(tmp_path)
    return make_app(Fabric(config, {}, Operations(config.database_url)), Tokens(tmp_path / "tokens")).openapi()


def calls(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): call for path, methods in described["paths"].items() for method, call in methods.items()}


def test_every_endpoint_of_the_seed_is_there(described: dict[str, Any]) -> None:
    assert calls(described).keys() >= SEED | IMPLIED


def test_one_shape_of_errors_everywhere(described: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in described["components"]["schemas"]
    for which, call in calls(described).items():
        errors = {status: answer for status, answer in call["responses"].items() if status >= "400"}
        assert {"401", "422", "500"} <= errors.keys(), which
        shapes = {answer["content"]["application/json"]["schema"]["$ref"] for answer in errors.values()}
        assert shapes == {"#/components/schemas/ErrorBody"}, which


def test_every_code_of_the_seed_is_declared_where_it_can_happen(described: dict[str, Any]) -> None:
    by_operation = {which: str(call["responses"]) for which, call in calls(described).items()}
    codes = ["INVALID_PACKAGES", "ENV_ALREADY_EXISTS", "PACKAGE_RESOLUTION_FAILED", "ENV_LOCKED", "DB_AUDIT_ERROR"]
    for code in [*codes, "UV_EXECUTION_ERROR", "DISK_FULL", "INVALID_KEY", "POLICY_REFUSED", "FORBIDDEN"]:
        assert code in by_operation["/envs", "post"], code
    assert "ENV_NOT_FOUND" in by_operation[f"{ENV}/export", "get"]
    assert "EXECUTION_TIMEOUT" in by_operation[f"{ENV}/run", "post"]
    for (path, method), responses in by_operation.items():
        assert ("FORBIDDEN" in responses) == (method != "get"), (path, method)


def test_links_lead_to_calls_that_exist_with_parameters_that_they_take(described: dict[str, Any]) -> None:
    known = {call["operationId"]: call for call in calls(described).values()}
    found = 0
    for call in known.values():
        for answer in call["responses"].values():
            for link in answer.get("links", {}).values():
                taken = {parameter["name"] for parameter in known[link["operationId"]]["parameters"]}
                assert link["parameters"].keys() <= taken
                found += 1
    assert found > 20


def test_calls_that_change_an_env_can_wait_for_it(described: dict[str, Any]) -> None:
    waits = {
        which
        for which, call in calls(described).items()
        if any(parameter["name"] == "wait" for parameter in call.get("parameters", ()))
    }
    changes = {("/envs", "post"), (ENV, "put"), (ENV, "delete"), (f"{ENV}/sync", "post")}
    assert waits == changes | {(f"{ENV}/deps", "post"), (f"{ENV}/deps", "delete")}


@pytest.mark.parametrize("name", [name for name, _ in FILES.values()])
def test_the_page_fetches_nothing_from_elsewhere_and_writes_no_markup(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert (
        re.findall(r"https?://|//[a-z]+\.|@import|innerHTML|insertAdjacentHTML|eval\(|\sstyle=|\son\w+=\"", text) == []
    )
