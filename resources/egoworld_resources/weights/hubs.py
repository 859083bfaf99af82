"""A hub of models through its own client, which runs as a process in an env of its own and only moves bytes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from egoworld_resources.errors import UnknownName
from egoworld_resources.programs.environment import HOME, NETWORK, environment_of
from egoworld_resources.weights.errors import HubUnreachable, NotOnHub, WeightsRefused
from egoworld_resources.weights.manifest import why_odd

LOOK_EVERY_S = 0.25
LONGEST_LIST_S = 600.0
LONGEST_START_S = 120.0
"""Seconds that a client may take to load itself, beyond those without a byte."""


@dataclass(frozen=True)
class Settled:
    """What a hub's client reads from its environment. passed: names of ours that it gets; seconds: its timeouts."""

    passed: tuple[str, ...]
    folders: tuple[str, ...]
    seconds: tuple[str, ...]
    others: Mapping[str, str]


HUBS: Mapping[str, Settled] = {
    "modelscope": Settled(
        ("MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"),
        ("MODELSCOPE_HOME", "MODELSCOPE_CACHE"),
        ("MODELSCOPE_API_TIMEOUT", "MODELSCOPE_DOWNLOAD_TIMEOUT"),
        # a large file takes longer than the hour that the client allows; whether it stalls is watched here
        {"MODELSCOPE_DOWNLOAD_TOTAL_TIMEOUT": str(10**7), "MODELSCOPE_API_MAX_RETRIES": "1"},
    ),
    "huggingface": Settled(
        ("HF_ENDPOINT", "HF_TOKEN"),
        ("HF_HOME",),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"),
        # Xet has its own servers, which a mirror does not stand for
        {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    ),
}
"""The hubs by name, in the order in which they are asked; each has an env of that name with a client.py."""


def _plain(path: str) -> str:
    if reason := why_odd(path):
        raise ValueError(f"{path!r} {reason}")
    return path


class HubFile(BaseModel):
    """What a hub says of one file. git: its blob id, where it names no sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_plain)]
    bytes: int = Field(ge=0)
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    git: str = Field("", pattern=r"^([0-9a-f]{40})?$")

    @model_validator(mode="after")
    def _has_a_digest(self) -> Self:
        if not (self.sha256 or self.git):
            raise ValueError(f"{self.path!r} has no digest")
        return self


class Listing(BaseModel):
    """What a hub says of one commit of a repository."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    licence: str = Field(description="in the hub's words; empty when it says none")
    files: Sequence[HubFile]


@dataclass(frozen=True)
class Hub:
    """One hub. python: of the env with its client, script: that client; stall_s: seconds without a byte that end it."""

    name: str
    python: Path
    script: Path
    stall_s: float = 60.0

    def list(self, repo: str, revision: str, home: Path) -> Listing:
        """Files of a repository at a revision. home: the client's own folder.

        Raises NotOnHub, HubUnreachable, WeightsRefused for what no hub should say.
        """
        request = {"verb": "list", "repo": repo, "revision": revision}
        with self._client(request, home) as (child, said):
            lines = [line for line in _lines(child, LONGEST_LIST_S) if line]
        if not lines:
            raise HubUnreachable(f"{self.name}: {repo} could not be listed: {_last(said)}")
        answer: dict[str, Any] = json.loads(lines[-1])
        if absent := answer.get("absent"):
            at = f" at {revision}" if revision else ""
            raise NotOnHub(f"{self.name} has no {repo}{at}: {absent[:300]}")
        try:
            return Listing.model_validate(answer)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise WeightsRefused(
                f"{self.name}: what it says of {repo} is not taken: {where}: {first['msg']}"
            ) from error

    def fetch(
        self,
        repo: str,
        commit: str,
        files: Mapping[Path, HubFile],
        home: Path,
        workers: int,
        arrived: Callable[[str], None],
        grown: Callable[[int], None],
    ) -> Mapping[str, str]:
        """Fetch files into their parts; reasons by path of those that did not arrive, "" for the hub as a whole.

        arrived: gets the path of each that the client has all of; grown: how many bytes all parts have now.
        """
        wanted = [{"part": str(part), "path": file.path, "bytes": file.bytes} for part, file in files.items()]
        request = {"verb": "fetch", "repo": repo, "revision": commit, "workers": workers, "files": wanted}
        sizes = {part: file.bytes for part, file in files.items()}
        failed: dict[str, str] = {}
        with self._client(request, home) as (child, said):
            watch = _Watch(sizes, self.stall_s, grown)
            for line in _lines(child, None):
                fact: dict[str, Any] = json.loads(line) if line else {}
                if fact.get("failed"):
                    failed[fact["path"]] = fact["failed"]
                elif "path" in fact:
                    arrived(fact["path"])
                if fact:
                    watch.heard()
                if reason := watch.fault():
                    return {**failed, "": reason}
            code = child.wait()
        return failed if code == 0 else {**failed, "": f"its client ended with {code}: {_last(said)}"}

    @contextmanager
    def _client(self, request: Mapping[str, Any], home: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "client.log").open("w+", encoding="utf-8") as said:
            child = subprocess.Popen(
                [self.python, "-I", self.script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                cwd=home,
                env=self._environment(home),
                start_new_session=True,
            )
            try:
                if child.stdin:
                    child.stdin.write(json.dumps(request) + "\n")
                    child.stdin.flush()
                yield child, said
            except BrokenPipeError as error:
                raise HubUnreachable(f"{self.name}: its client did not start: {_last(said)}") from error
            finally:
                end(child)

    def _environment(self, home: Path) -> dict[str, str]:
        settled = HUBS[self.name]
        own = dict.fromkeys(settled.folders, str(home)) | dict.fromkeys(settled.seconds, str(max(1, int(self.stall_s))))
        return {**environment_of(*NETWORK, *settled.passed), **HOME, **settled.others, **own}


class _Watch:
    """Whether parts still grow, and none beyond what the hub said."""

    def __init__(self, sizes: Mapping[Path, int], stall_s: float, grown: Callable[[int], None]) -> None:
        self._sizes, self._stall_s, self._grown = sizes, stall_s, grown
        self._last, self._since = -1, time.monotonic() + LONGEST_START_S

    def heard(self) -> None:
        """The client began, or a file arrived and was read: what that took is no stall."""
        self._since = time.monotonic()

    def fault(self) -> str:
        """Why the transfer must end; empty when it need not."""
        here = {part: size_of(part) for part in self._sizes}
        if too_long := next((part for part, size in here.items() if size > self._sizes[part]), None):
            return f"it sends more than the {self._sizes[too_long]:,} bytes that it named"
        total = sum(here.values())
        if total != self._last:
            self._last, self._since = total, max(self._since, time.monotonic())
            self._grown(total)
        stalled = time.monotonic() - self._since >= self._stall_s
        return f"stalled: no byte came for {self._stall_s:g} s" if stalled else ""


def size_of(part: Path) -> int:
    """Bytes of a file that are here: in its part, or in the folder in which a client gathers them beside it."""
    folder = part.with_suffix(".client")
    gathered = [file.stat().st_size for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    return sum(gathered) + (part.stat().st_size if part.is_file() else 0)


def hub_named(name: str) -> str:
    """The name of a hub; raises UnknownName."""
    if name not in HUBS:
        raise UnknownName("hub", name, HUBS)
    return name


def end(child: subprocess.Popen[str]) -> None:
    """End a client and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin:
        with suppress(BrokenPipeError):
            child.stdin.close()


def _lines(child: subprocess.Popen[str], seconds: float | None) -> Iterator[str]:
    """Lines that a client says until it ends, and an empty one whenever it said nothing for a moment."""
    out, said = child.stdout, queue.Queue[str | None]()
    if out is None:
        return

    def read() -> None:
        with out:
            for line in out:
                said.put(line)
        said.put(None)

    Thread(target=read, daemon=True).start()
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        try:
            line = said.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            yield ""
            continue
        if line is None:
            return
        yield line


def _last(said: IO[str]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read()[-20_000:].splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"
