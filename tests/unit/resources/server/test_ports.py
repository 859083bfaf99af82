"""A taken port is refused with the name of who holds it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.server.launch import LOOPBACK, Launch
from egoworld_resources.server.parts import Part
from egoworld_resources.server.ports import refuse_taken


def test_a_taken_port_names_its_holder(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        part = Part("proxy", 1, lambda: Launch(("true",)), lambda: "", "", (port,))
        holder = rf"proxy cannot have port {port}: {psutil.Process().name()} \(process {os.getpid()}\) listens there"
        with pytest.raises(BadConfiguration, match=holder):
            refuse_taken([part], tmp_path / ".env")
    refuse_taken([part], tmp_path / ".env")
