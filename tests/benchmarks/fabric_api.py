"""Part of (j): what an operation takes over HTTP beyond the library called directly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import environment, middle, settings
from tests.servers import free_port

US = Actor("benchmark", "benchmark")
KEY = EnvKey("api", "env")
ALLOWED_MS = 20.0


def added(fabric: Fabric, home: Path, turns: int) -> Iterator[Measure]:
    """A GET of one env and a run of an empty program, in turn by both ways; the difference of the medians."""
    fabric.create(KEY, US)
    with served(fabric, home) as http:
        path = f"/envs/{KEY.workflow_id}/{KEY.node_id}"
        yield measure("a look at an env", turns * 20, lambda: fabric.get(KEY), lambda: answered(http.get(path)))
        yield measure(
            "an empty program run",
            turns * 4,
            lambda: fabric.run(KEY, "", US),
            lambda: answered(http.post(f"{path}/run", json={"code": "pass"})),
        )


def measure(what: str, turns: int, directly: Callable[[], object], over_http: Callable[[], object]) -> Measure:
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(turns):
        for times, call in ((mine, over_http), (theirs, directly)):
            began = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - began))
    more = middle(mine) - middle(theirs)
    against = f"allowed; the library takes {middle(theirs):.3g} ms"
    return Measure("j", f"what the API adds to {what}", more, ALLOWED_MS, "ms", against, at_most=1.0)


@contextmanager
def served(fabric: Fabric, home: Path) -> Iterator[httpx.Client]:
    """The API over the same envs and audit, in a process of its own, with a token that may change them."""
    token = Tokens.of(settings(home)).create("benchmark", "writer")
    port = free_port()
    config = fabric.config
    folders = {"ENVS_BASE_PATH": config.envs_base_path, "UV_CACHE_DIR": config.uv_cache_dir}
    env = {**os.environ, **environment(home), **{name: str(folder) for name, folder in folders.items()}}
    command = [sys.executable, "-m", "egoworld_assets.cli", "env", "serve", "--port", str(port)]
    server = subprocess.Popen(command, env={**env, "DATABASE_URL": config.database_url}, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as http:
            until_it_answers(http, server)
            yield http
    finally:
        server.terminate()
        server.wait(90)


def until_it_answers(http: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            return answered(http.get("/health"))
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the API ended with status {server.returncode}")


def answered(answer: httpx.Response) -> None:
    """Raises RuntimeError with the answer unless all went well."""
    if not answer.is_success:
        raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")
