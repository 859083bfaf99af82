"""Looking at results: the Dagster UI with contact sheets, and Rerun's viewer. Loopback only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from egoworld_assets.flow import dagster_home
from egoworld_resources.errors import BadConfiguration, EgoworldError, UnknownName
from egoworld_resources.layout import KEY
from egoworld_resources.runner import end_group
from egoworld_resources.settings import PROJECT
from egoworld_resources.store import FolderStore, Store
from egoworld_resources.workbench import Workbench

LOOPBACK = "127.0.0.1"
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


@contextmanager
def served_artifacts(bench: Workbench) -> Iterator[None]:
    """Files of artifacts over HTTP at settings.files_url while the context lasts."""
    if isinstance(bench.store, FolderStore):
        root = bench.store.root / "artifacts"
        root.mkdir(parents=True, exist_ok=True)
        answers = partial(ArtifactFiles, directory=str(root))
    else:
        answers = partial(ArtifactLinks, bench.store)
    port = urlsplit(bench.settings.files_url).port or 80
    free(port)
    with ThreadingHTTPServer((LOOPBACK, port), answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def dagster_ui(bench: Workbench, port: int) -> int:
    """Run webserver, daemon and the file server until interrupted; returns Dagster's exit status."""
    home = dagster_home(bench)
    bench.settings.inbox_folder.mkdir(parents=True, exist_ok=True)
    workspace = PROJECT / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", LOOPBACK, "-p", str(port)]
    free(port)
    print(f"Dagster: http://{LOOPBACK}:{port}  (state in {home}; Ctrl-C ends it)")
    print(f"inbox: {bench.settings.inbox_folder}", flush=True)
    with served_artifacts(bench):
        return in_own_group(command)


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


def in_own_group(command: list[str]) -> int:
    """Run a server in a process group of its own; interrupted or ended, we take the whole group along."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    child = subprocess.Popen(command, start_new_session=True)
    try:
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        end_group(child, 0.0)
