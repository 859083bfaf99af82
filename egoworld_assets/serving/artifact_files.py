"""Looking at results: the Dagster UI with contact sheets, and Rerun's viewer. Loopback only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from egoworld_assets.orchestration.instance import instance_of
from egoworld_resources.errors import BadConfiguration, EgoworldError, UnknownName
from egoworld_resources.layout import KEY
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.opening import in_s3
from egoworld_resources.running.process import end_group
from egoworld_resources.settings import PROJECT
from egoworld_resources.sockets import listening
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.protocol import Store

LOOPBACK = "127.0.0.1"
LOOK_S = 0.5
LASTING_S = 5.0
"""A child that lived longer is a server; others come and go."""
STEADY_S = 30.0
"""If Dagster exits sooner it cannot start at all, and has logged why."""
LINK_SECONDS = 300
"""How long a browser may fetch a file after it was sent to the store."""


class ArtifactFiles(SimpleHTTPRequestHandler):
    """Serves files of artifacts, no listings."""

    def list_directory(self, path: str | os.PathLike[str]) -> None:  # noqa: ARG002
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class ArtifactLinks(BaseHTTPRequestHandler):
    """Sends a browser on to the store's own short-lived URL of a file of an artifact: our URL can be kept, that not."""

    def __init__(self, store: Store, *args: Any, **kwargs: Any) -> None:
        self._store = store
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        asset, video, version, file = (*unquote(urlsplit(self.path).path)[1:].split("/", 3), "", "", "")[:4]
        try:
            safe = all(KEY.fullmatch(part) for part in (asset, video, version))
            made = self._store.version(asset, video, version) if safe else None
            known = made is not None and any(stored.path == file for stored in made.files)
            link = self._store.link(made, file, LINK_SECONDS) if made and known else None
        except EgoworldError as error:
            self.send_error(502, explain=str(error))
            return
        if link is None:
            self.send_error(404)
            return
        self.send_response(302)
        self.send_header("Location", link)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class SocketServer(ThreadingHTTPServer):
    """On a Unix socket that listens already."""

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, answers: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(str(path), answers, bind_and_activate=False)  # pyright: ignore[reportArgumentType]
        self.socket.close()
        self.socket = listening(path)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """What asks has no address on a Unix socket, and handlers want one."""
        return self.socket.accept()[0], ("localhost", 0)


def artifact_server(bench: Workbench, at: int | Path) -> ThreadingHTTPServer:
    """Files of artifacts at /ASSET/VIDEO/DATA_VERSION/FILE, on a port of loopback or on a Unix socket.

    Raises BadConfiguration when something listens there already.
    """
    if isinstance(bench.store, FolderStore):
        root = bench.store.root / "artifacts"
        root.mkdir(parents=True, exist_ok=True)
        answers = partial(ArtifactFiles, directory=str(root))
    else:
        answers = partial(ArtifactLinks, bench.store)
    if isinstance(at, Path):
        return SocketServer(at, answers)
    free(at)
    return ThreadingHTTPServer((LOOPBACK, at), answers)


@contextmanager
def served_artifacts(bench: Workbench) -> Iterator[None]:
    """Files of artifacts over HTTP at settings.files_url while the context lasts."""
    with artifact_server(bench, urlsplit(bench.settings.files_url).port or 80) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def dagster_ui(bench: Workbench, port: int) -> int:
    """Run webserver, daemon and the file server until interrupted; returns Dagster's exit status."""
    with instance_of(bench) as instance:
        home = instance.root_directory
    if not in_s3(bench.settings):
        bench.settings.inbox_folder.mkdir(parents=True, exist_ok=True)
    workspace = PROJECT / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", LOOPBACK, "-p", str(port)]
    free(port)
    print(f"Dagster: http://{LOOPBACK}:{port}  (state in {home}; Ctrl-C ends it)")
    print(f"inbox: {bench.inbox.where}", flush=True)
    with served_artifacts(bench):
        return kept_up(command)


def free(port: int) -> None:
    """Raises BadConfiguration when something else listens on a port of this machine."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, port)) == 0:
            fix = "give another with --port, or set files_url for the server of contact sheets"
            raise BadConfiguration(f"port {port} is in use; {fix}")


def view_recording(bench: Workbench, video: str, port: int) -> int:
    """Serve a video's recording in Rerun's web viewer until interrupted."""
    made = bench.store.current("previews", video)
    if made is None:
        raise UnknownName("video with a recording", video, bench.store.videos("previews"))
    env = bench.builder.ensure(made.recipe.env)
    recording = bench.store.folder(made) / "recording.rrd"
    script = bench.catalog.env(made.recipe.env).folder / "view.py"
    free(port)
    return in_own_group([str(env.python), "-I", str(script), str(recording), "--port", str(port)])


def kept_up(command: list[str]) -> int:
    """Run Dagster's servers until interrupted, and start them again when one of them dies; returns the exit status.

    `dagster dev` ends when its webserver or daemon does, and stays without a code server when that one does.
    """
    while True:
        began = time.monotonic()
        status = in_own_group(command, Parts())
        if status == 0 or time.monotonic() - began < STEADY_S:
            return status
        print("one of Dagster's servers died; starting them again, runs go on where they stopped", flush=True)


class Parts:
    """The lasting children of a process, watched."""

    def __init__(self) -> None:
        self._seen: dict[psutil.Process, float] = {}

    def lost(self, pid: int) -> bool:
        """Whether a child that had lived for a while has ended."""
        now = time.monotonic()
        running = set(children_of(pid))
        for child in running:
            self._seen.setdefault(child, now)
        gone = [self._seen.pop(child) for child in set(self._seen) - running]
        return any(now - since > LASTING_S for since in gone)


def children_of(pid: int) -> list[psutil.Process]:
    """Direct children of a process that run; none when it has ended."""
    try:
        return [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def in_own_group(command: list[str], parts: Parts | None = None) -> int:
    """Run a server in a process group of its own; when it is interrupted, ends or loses a part, all of it is ended."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    child = subprocess.Popen(command, start_new_session=True)
    try:
        while child.poll() is None and not (parts and parts.lost(child.pid)):
            time.sleep(LOOK_S)
        return 1 if child.returncode is None else child.returncode
    except KeyboardInterrupt:
        return 0
    finally:
        end_group(child, 0.0)
