"""`egoworld metrics` and `egoworld files`: served on this machine until interrupted."""

from __future__ import annotations

import json
from pathlib import Path

from egoworld_assets.orchestration.instance import instance_of
from egoworld_assets.serving.artifact_files import artifact_server
from egoworld_assets.serving.metrics import server_of
from egoworld_resources.making.workbench import Workbench


def metrics(bench: Workbench, at: int | Path) -> None:
    """What Prometheus asks for, at a port of this machine or at a Unix socket."""
    with instance_of(bench) as instance, server_of(bench, instance, at) as server:
        announce(bench, "metrics", f"http://127.0.0.1:{at}/metrics" if isinstance(at, int) else str(at))
        server.serve_forever()


def files(bench: Workbench, at: int | Path) -> None:
    """Contact sheets and other files of artifacts, at a port of this machine or at a Unix socket."""
    with artifact_server(bench, at) as server:
        announce(bench, "files", f"http://127.0.0.1:{at}" if isinstance(at, int) else str(at))
        server.serve_forever()


def announce(bench: Workbench, what: str, where: str) -> None:
    """Say where something is served, in the form of the logs."""
    text = bench.settings.log_format == "text"
    print(f"{what}: {where}" if text else json.dumps({what: where}), flush=True)
