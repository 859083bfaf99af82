"""Wheels of the sdists that a model env lists, built in the sandbox in which commits for workflows are built.

<root>/.built/<sha256 of the sdist>-<python>/<wheel>   built once; uv installs it as any other wheel and builds nothing
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.building.venv import Building
from egoworld_resources.environments.errors import EnvBuildFailed, IndexUnreachable, LockRefused
from egoworld_resources.environments.locking.lockfile import Lock, lowest_python, marker_environment
from egoworld_resources.environments.policy.addresses import Origin, PrivateAddress, Unresolved, reachable
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.workflow_envs.building_wheels import BuiltWheel, WheelBuilder
from egoworld_resources.workflow_envs.errors import FabricError, IndexSilent, PolicyRefused
from egoworld_resources.workflow_envs.uv_backend import UvBackend

FOLDER = ".built"
TIMEOUT_S = 60
BLOCK = 1 << 20


@dataclass(frozen=True)
class Sdist:
    """A source archive as a lock names it. address: http, https, or a path."""

    name: str
    version: str
    address: str
    sha256: str
    subdirectory: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.address})"


class SdistWheels:
    """Builds the sdists of locks. root: the folder of the model envs."""

    def __init__(self, building: Building, policy: Policy, root: Path) -> None:
        self._building = building
        self._policy = policy
        self._root = root

    def of(self, env: str, lock: Lock, python: str) -> Mapping[str, Path]:
        """The wheel of each package that the lock has as an sdist. python: requires-python of the env.

        Raises LockRefused when the policy does not let it be built or fetched, IndexUnreachable, EnvBuildFailed.
        """
        version = lowest_python(python)
        sdists = [_sdist(entry, lock) for entry in lock.entries if "sdist" in entry]
        try:
            return {one.name: self._wheel(one, lock, version) for one in sdists}
        except PolicyRefused as error:
            raise LockRefused(f"env '{env}': {error}") from error
        except IndexSilent as error:
            raise IndexUnreachable(f"env '{env}': {error}") from error
        except FabricError as error:
            raise EnvBuildFailed(f"env '{env}': {error}") from error

    def _wheel(self, sdist: Sdist, lock: Lock, python: str) -> Path:
        folder = self._root / FOLDER / f"{sdist.sha256[:32]}-{python}"
        if built := next(folder.glob("*.whl"), None):
            return built
        (self._root / FOLDER).mkdir(mode=0o711, parents=True, exist_ok=True)  # a build as another user passes through
        with TemporaryDirectory(prefix=".building-", dir=self._root / FOLDER) as name:
            work = Path(name)
            work.chmod(0o711)
            backend = UvBackend(self._building, self._policy)
            builder = WheelBuilder(self._policy, backend.env_maker(python, slots=self._root))
            wheel = builder.build_sdist(sdist.name, sdist, lambda archive: self._fetch(sdist, archive), work)
            _refuse_unlocked(sdist, wheel, lock.packages(python), python)
            kept = work / "kept"
            kept.mkdir()
            (kept / wheel.file).write_bytes(wheel.content)
            kept.rename(folder)
        return folder / wheel.file

    def _fetch(self, sdist: Sdist, archive: Path) -> None:
        """The file whose sha256 is in the lock, from the address in the lock and from nowhere else."""
        here = self._building.wheels / Path(sdist.address).name if self._building.wheels else None
        local = here if here and here.is_file() else _local(sdist.address)
        if local is not None:
            archive.write_bytes(local.read_bytes() if local.is_file() else b"")
        else:
            self._download(sdist, archive)
        if file_digest(archive) != sdist.sha256:
            raise EnvBuildFailed(f"{sdist} is not the file whose sha256 the lock has; nothing was built")

    def _download(self, sdist: Sdist, archive: Path) -> None:
        try:
            reachable(Origin.of(sdist.address), self._policy.private_sources)
        except PrivateAddress as error:
            message = f"{sdist}: {error}; list it in private_sources of envs/policy.toml"
            raise PolicyRefused(message, rule="private_sources") from error
        except (Unresolved, ValueError) as error:
            raise IndexSilent(f"{sdist}: {error}") from error
        try:
            opener = urllib.request.build_opener(_Stay)
            with opener.open(sdist.address, timeout=TIMEOUT_S) as answer, archive.open("wb") as copy:
                while block := answer.read(BLOCK):
                    copy.write(block)
        except OSError as error:
            raise IndexSilent(f"{sdist} could not be fetched: {error}") from error


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the address that was checked is the one that is contacted."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        why = f"{msg}: it leads on to {newurl}, which is not followed"
        raise urllib.error.HTTPError(req.full_url, code, why, headers, fp)


def _sdist(entry: Mapping[str, Any], lock: Lock) -> Sdist:
    file = entry["sdist"]
    address = str(file["url"]) if "url" in file else str(lock.path.parent / file["path"])
    return Sdist(entry["name"], str(entry.get("version", "")), address, file["hashes"]["sha256"])


def _local(address: str) -> Path | None:
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(address)


def _refuse_unlocked(sdist: Sdist, wheel: BuiltWheel, locked: Mapping[str, str], python: str) -> None:
    """What a source needs is known once it is built, and must have been locked: raise EnvBuildFailed for the rest."""
    wanted = [one for one in wheel.requires if one.marker is None or one.marker.evaluate(marker_environment(python))]
    missing = [str(one) for one in wanted if not _fits(one.name, locked, one.specifier.contains)]
    if missing:
        raise EnvBuildFailed(
            f"{sdist} needs {', '.join(missing)}, which the lock does not have; name it in dependencies of the env and "
            "lock again"
        )


def _fits(name: str, locked: Mapping[str, str], fits: Any) -> bool:
    version = locked.get(canonicalize_name(name))
    return version is not None and bool(fits(version, prereleases=True))
