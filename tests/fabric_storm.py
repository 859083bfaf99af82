"""`python -m tests.fabric_storm FOLDER`: clients that change envs at random while server and uv are killed.

At the end every env imports what its lock says, no answered change is lost, and the audit agrees with the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.settings import PROJECT, Settings
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.api.tokens import Tokens
from egoworld_resources.workflow_envs.config import FabricConfig
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.opening import open_fabric
from tests.servers import free_port

sys.path.insert(0, str(Path(__file__).parent))
from made_index import made_index

PACKAGES = [f"pack{number}" for number in range(8)]
ENVS = [EnvKey("storm", f"env{number}") for number in range(5)]
SERVER = [sys.executable, "-m", "egoworld_assets.cli", "env", "serve"]
IMPORT = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).VERSION for name in sys.argv[1:]}))
"""
US = Actor("storm", "storm")
ANSWERED = {200, 201, 400, 403, 404, 409, 422, 423, 429, 500, 502, 504, 507}


@dataclass
class Storm:
    """One run. answers: how often each operation got each answer; done: ids of requests that were answered well."""

    folder: Path
    uv: Path
    seed: int
    index: str
    port: int = field(default_factory=free_port)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    server: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def settings(self) -> Settings:
        return Settings.model_validate({"home": self.home, "project": self.folder, "uv": self.uv})

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EGOWORLD_")}
        ours = {"EGOWORLD_HOME": self.home, "EGOWORLD_PROJECT": self.folder, "EGOWORLD_UV": self.uv}
        uv = {"UV_CACHE_DIR": self.folder / "cache", "UV_DEFAULT_INDEX": self.index, "UV_HTTP_RETRIES": "0"}
        return {**kept, **{name: str(value) for name, value in {**ours, **uv}.items()}}

    def fabric(self) -> Fabric:
        """The same envs and audit as the server's, opened here."""
        config = FabricConfig.load(self.settings(), self.environ())
        return open_fabric(self.settings(), config)


def start(storm: Storm) -> None:
    """Start the server and wait until it answers."""
    storm.home.mkdir(parents=True, exist_ok=True)
    (storm.home / "policy.toml").write_text("private_sources = ['127.0.0.1']\n")  # where the made-up index is
    with (storm.folder / "server.log").open("ab") as log:
        storm.server = subprocess.Popen(
            [*SERVER, "--port", str(storm.port)], env=storm.environ(), stdout=log, stderr=log
        )
    for _ in range(2400):
        try:
            httpx.get(f"http://127.0.0.1:{storm.port}/health", timeout=5)
        except httpx.TransportError:
            if storm.server.poll() is not None:
                raise RuntimeError((storm.folder / "server.log").read_text()[-2000:]) from None
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server never answered")


def client(storm: Storm, number: int, token: str) -> None:
    """One client: an operation at random after the other, until the storm is over."""
    dice = random.Random(f"{storm.seed} client {number}")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{storm.port}", headers=headers, timeout=120) as http:
        while not storm.over.is_set():
            name, method, path, body = request(dice)
            try:
                answer = http.request(method, path, json=body, params={"wait": dice.choice([0, 1, 20])})
            except httpx.TransportError:
                storm.answers[name, "no answer"] += 1
                storm.over.wait(0.1)
                continue
            told = "ok" if answer.is_success else answer.json()["error"]["code"]
            storm.answers[name, told] += 1
            if answer.status_code not in ANSWERED:
                raise AssertionError(f"{name}: {answer.status_code} {answer.text}")


def request(dice: random.Random) -> tuple[str, str, str, dict[str, object] | None]:
    """Name, method, path and body of an operation at random."""
    key = dice.choice(ENVS)
    path = f"/envs/{key.workflow_id}/{key.node_id}"
    some = dice.sample(PACKAGES, dice.randint(1, 3))
    named = {"workflow_id": key.workflow_id, "node_id": key.node_id}
    return dice.choices(
        [
            ("create", "POST", "/envs", {**named, "packages": some}),
            ("add", "POST", f"{path}/deps", {"packages": some}),
            ("remove", "DELETE", f"{path}/deps", {"packages": some[:1]}),
            ("sync", "POST", f"{path}/sync", None),
            ("delete", "DELETE", path, None),
            ("run", "POST", f"{path}/run", {"code": "print(1)"}),
            ("get", "GET", path, None),
        ],
        weights=[4, 8, 5, 2, 1, 2, 2],
    )[0]


def kill(storm: Storm, dice: random.Random) -> None:
    """kill -9 the server, or a uv that it runs."""
    server = storm.server
    if server is None or server.poll() is not None:
        return
    if dice.random() < 0.6:
        with suppress(psutil.NoSuchProcess):  # one that ended by itself meanwhile
            below = psutil.Process(server.pid).children(recursive=True)
            if uvs := [process for process in below if process.name() == "uv"]:
                dice.choice(uvs).kill()
                storm.kills["uv"] += 1
                return
    server.kill()
    server.wait()
    storm.kills["server"] += 1
    start(storm)


@contextmanager
def clients(storm: Storm, number: int, token: str) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=client, args=(storm, each, token)) for each in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        storm.over.set()
        for thread in threads:
            thread.join()


def problems(fabric: Fabric) -> list[str]:
    """Whatever is not as it should be; nothing runs any more."""
    found = [f"{one.action} {one.folder} {one.id} has no end" for one in fabric.operations.unfinished()]
    for key in ENVS:
        declared = replayed(fabric, key)
        there = key in fabric.places.taken()
        if (declared is not None) != there:
            found.append(f"{key}: the audit says {'there' if declared is not None else 'gone'}, the disk says {there}")
        elif there:
            found += wrong_in(fabric, key, declared or set())
    return found


def replayed(fabric: Fabric, key: EnvKey) -> set[str] | None:
    """The dependencies that an env must have by its audit; None when it must be gone."""
    declared: set[str] | None = None
    for one in reversed(fabric.operations.history(parts=key.parts, limit=1_000_000)):
        if one.result != "ok":
            continue
        packages = set(one.details.get("packages") or ())
        if one.action == "create":
            declared = packages
        elif one.action == "add":
            declared = (declared or set()) | packages
        elif one.action == "remove":
            declared = (declared or set()) - packages
        elif one.action in ("delete", "cleanup"):
            declared = None
    return declared


def wrong_in(fabric: Fabric, key: EnvKey, declared: set[str]) -> list[str]:
    """Where an env differs from the audit, from its lock, or from what was installed."""
    env = fabric.verify(key)
    found: list[str] = []
    names = {text.partition(">")[0] for text in env.declared.dependencies}
    if names != declared:
        found.append(f"{key}: declared are {sorted(names)}, by the audit {sorted(declared)}")
    locked = env.declared.locked_versions
    done = subprocess.run([env.python, "-I", "-c", IMPORT, *locked], capture_output=True, text=True, check=False)
    if done.returncode or json.loads(done.stdout) != locked:
        found.append(f"{key}: its lock says {locked}, it imports {done.stdout}{done.stderr[-500:]}")
    last = next(
        (one for one in fabric.operations.history(parts=key.parts) if one.result == "ok" and one.action != "run"), None
    )
    if last is None or last.lock_after != env.lock_digest:
        found.append(f"{key}: its lock is {env.lock_digest}, the audit's last is {last and last.lock_after}")
    left = {entry.name for entry in env.env_path.iterdir()} - {"current", env.generation}
    if unready := [name for name in left if not (env.env_path / name / "ready.json").is_file()]:
        found.append(f"{key}: half-made generations {unready} stay")
    return found


def lost(storm: Storm, fabric: Fabric) -> list[str]:
    """Answered changes that the audit does not have: each 2xx is one operation that ended well."""
    counted = Counter(one.action for one in fabric.operations.history(limit=1_000_000) if one.result == "ok")
    return [
        f"{name}: {number} were answered as done, the audit has {counted[name]}"
        for (name, told), number in storm.answers.items()
        if told == "ok" and name != "get" and counted[name] < number
    ]


def run(folder: Path, uv: Path, seed: int, seconds: float, number: int = 20) -> tuple[Storm, list[str]]:
    """A whole storm; returns it and the problems that it found."""
    dice = random.Random(f"{seed} kills")
    folder.mkdir(parents=True, exist_ok=True)
    with made_index(folder / "index") as index:
        for name in PACKAGES:
            index.add(name, "1.0")
        storm = Storm(folder, uv, seed, index.url)
        storm.home.mkdir(parents=True)
        token = Tokens.of(storm.settings()).create("storm", "writer")
        start(storm)
        try:
            with clients(storm, number, token):
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    time.sleep(dice.uniform(0.2, 2.0))
                    kill(storm, dice)
        finally:
            if storm.server:
                storm.server.terminate()
                storm.server.wait(90)
        fabric = storm.fabric()
        for key in ENVS:  # the first change after a crash collects what is left
            if key in fabric.places.taken():
                fabric.sync(key, US)
        return storm, [*problems(fabric), *lost(storm, fabric)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fabric_storm", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="an empty folder for envs, cache, index and audit")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    folder.mkdir(parents=True)
    print(f"seed {asked.seed}")
    storm, found = run(folder, checkout_uv(PROJECT).program, asked.seed, asked.seconds, asked.clients)
    for (name, told), number in sorted(storm.answers.items()):
        print(f"{name}\t{told}\t{number}")
    print(f"kill -9: {dict(storm.kills)}")
    print("\n".join(found) or "no problem found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
