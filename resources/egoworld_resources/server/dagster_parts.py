"""Dagster on a server: code location, two webservers, daemon; each started and asked as its clients ask it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from egoworld_resources.leases.locks import write_private
from egoworld_resources.server.environment import EnvFile
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.places import Places
from egoworld_resources.server.probes import SECONDS, Unhealthy, fetch_at
from egoworld_resources.server.roles import PostgresRole
from egoworld_resources.settings import PROJECT, Settings, config_file

MODULE = "egoworld_assets.definitions"
WEBSERVER = "egoworld_resources.server.webserver"
LOADED = "{version workspaceOrError{... on Workspace{locationEntries{name locationOrLoadError{__typename}}}}}"
FILES = "/files"
"""Where the proxy has the files of artifacts."""
LOGS = ("--log-format", "json")
HEARTBEATS = "{instance{daemonHealth{allDaemonStatuses{daemonType required healthy lastHeartbeatTime}}}}"
FRESH_S = 150.0
"""A daemon says that it lives every half minute; Dagster itself calls one healthy that was silent for half an hour."""
SET_LIMIT = "mutation($pool:String!,$limit:Int!){setConcurrencyLimit(concurrencyKey:$pool,limit:$limit)}"


def dagster_environment(
    settings: Settings, env_file: EnvFile, folder: Path, role: PostgresRole = "dagster"
) -> dict[str, str]:
    """What every process needs that works on this server as Dagster does; also for `egoworld` typed by hand.

    role: whose login to Postgres it is given.
    """
    server = env_file.load()
    found = {name: os.environ[name] for name in ("VIRTUAL_ENV", "LD_LIBRARY_PATH") if name in os.environ}
    files_url = f"https://{server.proxy_name}:{server.proxy_port}{FILES}"
    found |= {"EGOWORLD_LOG_FORMAT": "json", "EGOWORLD_FILES_URL": files_url} | env_file.passed_on()
    found |= {
        "DAGSTER_HOME": str(folder),
        # A backfill waits while the code server starts again, instead of ending as failed.
        "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
        "DAGSTER_CODE_SOCKET": str(server.places.of("code-location")),
        **server.postgres_as(role).variables,
        **{f"EGOWORLD_{name.upper()}": str(folder) for name, folder in settings.folders.items()},
        "EGOWORLD_UV": str(settings.uv.absolute()),
        "EGOWORLD_UV_CACHE": str(settings.uv_cache_folder),
    }
    if config_file().is_file():
        found["EGOWORLD_CONFIG"] = str(config_file())
    return found


def write_home(folder: Path) -> None:
    """DAGSTER_HOME with the configuration of this version of egoworld."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("dagster", "workspace"):
        text = (PROJECT / "infra" / f"{name}.production.yaml").read_text(encoding="utf-8")
        write_private(folder / f"{name}.yaml", text)


def code_location(places: Places, env: dict[str, str]) -> Launch:
    """Our definitions behind gRPC; runs are started by it."""
    words = ("-s", str(places.of("code-location")), "-m", MODULE, "--location-name", "egoworld", *LOGS)
    own = {
        # the server of definitions behind the one that is started here takes the format from its variable alone,
        # and listens on a socket in the folder for temporary files
        "DAGSTER_CLI_API_GRPC_LOG_FORMAT": "json",
        "TMPDIR": str(places.temporary),
    }
    return Launch((program("dagster"), "code-server", "start", *words), {**env, **own})


def webserver(socket: Path, folder: Path, env: dict[str, str], *, read_only: bool) -> Launch:
    """The UI; a read-only one refuses every mutation."""
    words = ("-w", str(folder / "workspace.yaml"), *LOGS, *(("--read-only",) if read_only else ()))
    return Launch((sys.executable, "-m", WEBSERVER, str(socket), *words), env)


def daemon(folder: Path, env: dict[str, str]) -> Launch:
    """Sensors, schedules, backfills, the run queue."""
    return Launch((program("dagster-daemon"), "run", "-w", str(folder / "workspace.yaml"), *LOGS), env)


def files(socket: Path, env: dict[str, str]) -> Launch:
    """What sends a browser on to the files of artifacts."""
    return Launch((program("egoworld"), "files", "--socket", str(socket)), env)


def metrics(socket: Path, env: dict[str, str]) -> Launch:
    """What Prometheus asks for."""
    return Launch((program("egoworld"), "metrics", "--socket", str(socket)), env)


def program(name: str) -> str:
    """A program of our own environment."""
    return str(Path(sys.executable).parent / name)


def code_answers(socket: Path) -> str:
    """gRPC's own health service; raises Unhealthy."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        try:
            check: Any = health_pb2_grpc.HealthStub(channel)
            status = check.Check(request, timeout=SECONDS).status
        except grpc.RpcError as error:
            raise Unhealthy(f"code location at {socket} does not answer: {error.code().name}") from error
    if status != health_pb2.HealthCheckResponse.SERVING:
        raise Unhealthy(f"code location at {socket} does not serve (gRPC health status {status})")
    return "serves gRPC"


def webserver_answers(socket: Path) -> str:
    """Its version, and that it has loaded the code location; raises Unhealthy."""
    data = graphql(socket, LOADED)
    entries = (data["workspaceOrError"] or {}).get("locationEntries", [])
    loaded = {entry["name"]: (entry["locationOrLoadError"] or {}).get("__typename") for entry in entries}
    if loaded.get("egoworld") != "RepositoryLocation":
        raise Unhealthy(f"webserver at {socket} has not loaded the code location: {loaded}")
    return f"dagster {data['version']}, code location loaded"


def daemon_beats(socket: Path) -> str:
    """Fresh heartbeats of every daemon that this instance needs, asked through a webserver; raises Unhealthy."""
    statuses = graphql(socket, HEARTBEATS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    oldest = time.time() - FRESH_S
    silent = sorted(
        status["daemonType"]
        for status in statuses
        if status["required"] and not (status["healthy"] and float(status["lastHeartbeatTime"] or 0) > oldest)
    )
    if silent:
        raise Unhealthy(f"no heartbeat of {', '.join(silent)} in the last {FRESH_S:.0f} s")
    return f"{sum(status['required'] for status in statuses)} daemons beat"


def set_pool_limits(socket: Path, limits: dict[str, int]) -> None:
    """How many steps of each pool may run at once."""
    for pool, limit in limits.items():
        graphql(socket, SET_LIMIT, {"pool": pool, "limit": limit})


def graphql(socket: Path, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """The data of a GraphQL answer; raises Unhealthy for errors too."""
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    answer = json.loads(fetch_at(socket, "/graphql", body, {"Content-Type": "application/json"}))
    if answer.get("errors"):
        raise Unhealthy(f"{socket}: {answer['errors'][0].get('message')}")
    return answer["data"]
