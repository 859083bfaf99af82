"""The environment service as a part of the server: on a Unix socket, its audit in Postgres, its tokens in the .env."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from egoworld_resources.server.environment import OF_ENVS, EnvFile
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.probes import Unhealthy, asked

PATH = "/envs"
"""Where the proxy has it."""
PASSED_ON = ("EGOWORLD_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NVIDIA_")
"""Beginnings of what else of the .env reaches it: no key of the S3 server."""
LOOK = "/operations?limit=1"


def environment(env_file: EnvFile, shared: Mapping[str, str]) -> dict[str, str]:
    """The environment of the service. shared: of every part that works in the home."""
    server = env_file.load()
    given = env_file.values()
    kept = {name: value for name, value in shared.items() if name.startswith("EGOWORLD_")}
    return kept | {
        **{name: value for name, value in given.items() if name in OF_ENVS or name.startswith(PASSED_ON)},
        "DATABASE_URL": server.postgres_as("envs").url,
        "ENV_OPERATOR_TOKEN": server.env_operator_token.get_secret_value(),
        "ENV_VIEWER_TOKEN": server.env_viewer_token.get_secret_value(),
    }


def env_service(program: str, socket: Path, env: Mapping[str, str]) -> Launch:
    """The API of envs, for those who hold a token."""
    return Launch((program, "env", "serve", "--socket", str(socket)), env)


def answers(socket: Path, token: str) -> str:
    """Without a token nothing is said, with one the audit is read; raises Unhealthy."""
    stranger, _ = asked(socket, "GET", LOOK)
    status, said = asked(socket, "GET", LOOK, headers={"Authorization": f"Bearer {token}"})
    if (stranger, status) != (401, 200):
        raise Unhealthy(
            f"{socket}: {LOOK} is answered with {stranger} without a token (not 401) and {status} with one (not 200): "
            f"{said[:300].decode(errors='replace')}"
        )
    return f"a token is asked for, the audit answers ({len(json.loads(said)['operations'])} operations shown)"
