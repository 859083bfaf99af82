"""supervisord over the parts: it starts what died again. Its configuration holds commands, never a secret."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from egoworld_resources.errors import BadConfiguration, Terminal
from egoworld_resources.leases.locks import write_private
from egoworld_resources.programs.environment import NETWORK, UV, environment_of
from egoworld_resources.server.launch import KEPT, SUPERVISED
from egoworld_resources.server.parts import Part
from egoworld_resources.server.places import Places
from egoworld_resources.server.tools import Tools
from egoworld_resources.sockets import UnixConnection

OURS = ("EGOWORLD_", "CUDA_", "NVIDIA_", "HF_")
SETTINGS = (
    *("VIRTUAL_ENV", "PYTHONPATH", "UV_CACHE_DIR", "DATA_ROOT", "ENVS_BASE_PATH", "DATA_DIR", "LOG_DIR", "MODELS_DIR"),
)
"""What the parts read of the environment of who types `make up`; passwords come from the .env alone."""

ANSWER_S = 15.0
"""How long it may take to answer: one that stands still is said to, and waited for no longer."""

ENDED = ("STOPPED", "EXITED", "FATAL")

HEAD = """\
; Written by `make up`.
[supervisord]
logfile = {logs}/supervisord.log
logfile_maxbytes = 10MB
logfile_backups = 2
pidfile = {folder}/supervisord.pid
directory = {folder}
umask = 077
identifier = egoworld
{user}
[unix_http_server]
file = {socket}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """
[program:{name}]
command = {python} -m egoworld_resources.server run {name}
directory = {directory}
environment = EGOWORLD_HOME="{home}",{supervised}="yes"
autostart = false
autorestart = true
startsecs = 2
startretries = 30
stopsignal = {stop}
stopwaitsecs = 60
stopasgroup = {group}
killasgroup = {group}
redirect_stderr = true
stdout_logfile = {logs}/{name}.log
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 3
"""


class SupervisorFailed(Terminal):
    """The supervisor does not start, or refuses what it is asked."""


@dataclass(frozen=True)
class State:
    """What the supervisor knows of a part."""

    name: str
    state: str
    pid: int
    description: str


class Supervisor:
    """The supervisord whose state lies under ``folder``."""

    def __init__(self, folder: Path, home: Path, tools: Tools) -> None:
        self.folder = folder
        self._home = home
        self._tools = tools
        self.config = folder / "supervisord.conf"
        self.pid_file = folder / "supervisord.pid"
        self.places = Places(folder)
        self.socket = self.places.of("supervisor")

    def write(self, parts: Iterable[Part], logs: Path) -> None:
        """Write its configuration. logs: folder of what it and the parts say. Raises BadConfiguration."""
        try:
            logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            logs.chmod(0o700)
        except OSError as error:
            raise BadConfiguration(
                f"logs of the server cannot be kept in {logs} ({error.strerror}): make it a folder of yours, or name "
                "another (LOG_DIR)"
            ) from error
        log = logs / "supervisord.log"  # it would make its own before it takes its umask
        log.touch(mode=0o600)
        log.chmod(0o600)
        user = "user = root" if os.geteuid() == 0 else ""  # said, as it warns of a root that was not asked for
        text = HEAD.format(folder=_escaped(self.folder), logs=_escaped(logs), socket=_escaped(self.socket), user=user)
        for part in parts:
            text += PROGRAM.format(
                name=part.name,
                python=_escaped(sys.executable),
                directory=_escaped(Path.cwd()),
                home=_escaped(self._home),
                supervised=SUPERVISED,
                stop=part.stop,
                group=str(part.group).lower(),
                logs=_escaped(logs),
            )
        write_private(self.config, text)

    def start(self) -> None:
        """Start it in the background. What an earlier one left (socket, pid file) is in nobody's way."""
        self.places.make()
        self.socket.unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)
        program = self._tools.wheel("supervisor") / "bin" / "supervisord"
        own = [name for name in os.environ if name.startswith(OURS)]
        kept = environment_of(*KEPT, *NETWORK, *UV, *SETTINGS, *own)
        done = subprocess.run(
            [program, "-c", self.config],
            env=kept,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while not self.runs():
            if done.returncode != 0 or time.monotonic() > end:
                raise SupervisorFailed(f"supervisord does not start; it says:\n{done.stdout}{done.stderr}")
            time.sleep(0.05)

    def runs(self) -> bool:
        """Whether it answers."""
        try:
            with self._server() as server:
                return server.supervisor.getState()["statename"] == "RUNNING"
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def pid(self) -> int:
        """The process that answers; 0 when none does."""
        try:
            with self._server() as server:
                return int(server.supervisor.getPID())
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return 0

    def noted(self) -> int:
        """The process that was started last, as it noted itself; 0 when it has ended."""
        try:
            process = psutil.Process(int(self.pid_file.read_text(encoding="ascii")))
            return process.pid if str(self.config) in process.cmdline() else 0
        except (OSError, ValueError, psutil.Error):
            return 0

    def states(self) -> dict[str, State]:
        """Every part that it knows; empty when it does not run."""
        try:
            with self._server() as server:
                found: list[dict[str, Any]] = server.supervisor.getAllProcessInfo()
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return {}
        return {one["name"]: State(one["name"], one["statename"], one["pid"], one["description"]) for one in found}

    def start_part(self, name: str) -> None:
        """Start a part; whether it works is for its probe to say."""
        wait = False
        with self._server() as server:
            server.supervisor.startProcess(name, wait)

    def stop_parts(self, names: Iterable[str]) -> None:
        """Stop parts together and wait for their ends."""
        waiting, wait = list(names), False
        with self._server() as server:
            for name in waiting:
                if self.states()[name].state not in ENDED:
                    server.supervisor.stopProcess(name, wait)
        while any(state.state not in ENDED for name, state in self.states().items() if name in waiting):
            time.sleep(0.1)

    def stop(self) -> None:
        """End it, and with it what it still runs; waits for its end."""
        with self._server() as server:
            process = psutil.Process(server.supervisor.getPID())
            server.supervisor.shutdown()
        process.wait(120)

    def end(self) -> None:
        """End one that was started here and does not answer."""
        pid = self.noted()
        if pid:
            process = psutil.Process(pid)
            process.kill()
            process.wait(30)

    @contextmanager
    def _server(self) -> Iterator[Any]:
        with xmlrpc.client.ServerProxy("http://localhost", transport=UnixTransport(self.socket)) as server:
            yield server


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = self._connection[1] or UnixConnection(self._path, ANSWER_S)
        self._connection = host, connection  # what close() of the standard transport closes
        return connection


def _escaped(path: Path | str) -> str:
    """A path in supervisord's configuration, which reads % as its own sign."""
    return str(path).replace("%", "%%")
