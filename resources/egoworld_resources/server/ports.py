"""Who holds a port, and which processes are parts of a server whose supervisor is gone."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.server.launch import LOOPBACK, MARK
from egoworld_resources.server.parts import Part


def refuse_taken(parts: Iterable[Part], env_file: Path) -> None:
    """Raises BadConfiguration naming the first port that something else listens on, who that is, and the fix."""
    for part in parts:
        for port in part.ports:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, port)) != 0:
                    continue
            raise BadConfiguration(
                f"{part.name} cannot have port {port}: {holder(port)} listens there. "
                f"End that, or give {part.name} another port in {env_file}, then make up again"
            )


def holder(port: int) -> str:
    """The program that listens on a port, as far as the system tells us."""
    for found in psutil.net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
            try:
                return f"{psutil.Process(found.pid).name()} (process {found.pid})"
            except psutil.Error:
                return f"process {found.pid}"
    return "a process of another user"


def orphans(folder: Path) -> dict[str, list[psutil.Process]]:
    """Processes that belong to the server under ``folder``, by part; children of such processes are left out."""
    marked: dict[int, tuple[str, psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            where, _, name = process.environ().get(MARK, "").rpartition(":")
            if where == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                marked[process.pid] = name, process
        except psutil.Error:
            continue  # another user's, or it has ended
    found: dict[str, list[psutil.Process]] = {}
    for name, process in marked.values():
        try:
            parent = process.ppid()
        except psutil.Error:
            continue
        if parent not in marked:
            found.setdefault(name, []).append(process)
    return found
