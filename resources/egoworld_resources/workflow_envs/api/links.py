"""OpenAPI links: what an answer is good for next, so that programs (and tests) can follow from create on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

KEY = ("workflow_id", "node_id", "version_id")
OF_AN_ENV = ("get_env", "export_env", "list_deps", "add_deps", "run_code", "sync_env", "update_env", "delete_env")


def to(*operations: str) -> dict[str, Any]:
    """Links from an answer that names an env to ``operations`` on that env."""
    parameters = {name: f"$response.body#/{name}" for name in KEY}
    return {name: {"operationId": name, "parameters": parameters} for name in operations}


def linked(status: int, description: str, operations: Sequence[str] = OF_AN_ENV) -> dict[int | str, dict[str, Any]]:
    """A success for OpenAPI with its links."""
    return {status: {"description": description, "links": to(*operations)}}
