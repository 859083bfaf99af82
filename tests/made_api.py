"""The API of envs as a process of its own, over folders of its own and a made-up index."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from egoworld_resources.workflow_envs.api.tokens import Tokens

SERVING = "serving "
UNIX = "http+unix://"


@dataclass(frozen=True)
class Served:
    """A running API. said: what it told at its start; process: the server."""

    url: str
    writer: str
    reader: str
    said: list[str]
    process: subprocess.Popen[str]
    environ: Mapping[str, str]

    def client(self, token: str | None = None) -> httpx.Client:
        """Asks with a token; the writer's when none is named, none at all with ""."""
        given = self.writer if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        if self.url.startswith(UNIX):
            way = httpx.HTTPTransport(uds=self.url.removeprefix(UNIX))
            return httpx.Client(transport=way, base_url="http://envs", headers=headers, timeout=120)
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)


def environ_of(home: Path, uv: Path, index: str, **more: str) -> dict[str, str]:
    """The environment of commands over ``home``, with the rules of no policy file."""
    (home / "project").mkdir(parents=True, exist_ok=True)
    site = home / "policy.toml"
    if not site.exists():
        site.write_text("private_sources = ['127.0.0.1']\n")  # the index is on this machine
    own = {
        "EGOWORLD_HOME": str(home),
        "EGOWORLD_PROJECT": str(home / "project"),
        "EGOWORLD_UV": str(uv),
        "UV_CACHE_DIR": str(home / "uv-cache"),
        "UV_DEFAULT_INDEX": index,
        "DATABASE_URL": "",
    }
    return {**os.environ, **own, **more}


def command(*words: str) -> list[str]:
    """The words that start a command of egoworld."""
    return [sys.executable, "-m", "egoworld_assets.cli", *words]


@contextmanager
def served(home: Path, uv: Path, index: str, *where: str, under: Sequence[str] = (), **more: str) -> Iterator[Served]:
    """The API while the context lasts, with a token for each role; told to end afterwards, and it must end well.

    ``where``: options that say where it listens, instead of a free port; ``under``: words of a program that
    starts it; ``more``: variables of its environment.
    """
    environ = environ_of(home, uv, index, **more)
    tokens = Tokens(home / "env_tokens.json")
    writer, reader = (tokens.create(role, role) for role in ("writer", "reader"))
    with (home / "serve.err").open("w") as errors:
        process = subprocess.Popen(
            [*under, *command("env", "serve", *(where or ("--port", "0")))],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        said: list[str] = []
        assert process.stdout
        for line in process.stdout:
            said.append(line.strip())
            if line.startswith(SERVING):
                break
        else:
            pytest.fail(f"the API did not start: {(home / 'serve.err').read_text()}")
        yield Served(said[-1].removeprefix(SERVING), writer, reader, said, process, environ)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0, (home / "serve.err").read_text()
