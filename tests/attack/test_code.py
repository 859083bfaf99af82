"""Code of a workflow that means harm, run as the environment service runs it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from egoworld_resources.sandbox import Bounds
from tests.machines import machine_named, none_left

BOUNDS = Bounds(timeout_s=30, memory_bytes=256 << 20, output_bytes=100_000, processes=24, disk_bytes=16 << 20)

TRIES = {
    "reads a secret of the service": "open({secret!r}).read()",
    "reads the passwords of the machine": "open('/etc/shadow').read()",
    "calls a server of the machine": "__import__('socket').create_connection(('127.0.0.1', {port}), 2)",
    "makes a set-id program": "(open('p', 'w').close(), __import__('os').chmod('p', 0o4755))",
    "writes into its env": "open({module!r}, 'a').write('x')",
    "reads the memory of its init": "open('/proc/1/mem', 'rb').read(1)",
    "lists other processes": "[int(n) for n in __import__('os').listdir('/proc') if n.isdigit() and int(n) > 50][0]",
}


@pytest.mark.parametrize("attempt", TRIES)
def test_code_that_means_harm(code_folder: Path, attempt: str) -> None:
    """Code run in an env reaches what is not its own"""
    machine = machine_named("whole", code_folder)
    if "mount" not in machine.means:
        pytest.skip("this kernel grants no mounts; capabilities() says so")
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = {"secret": str(machine.secret), "module": str(machine.module), "port": server.getsockname()[1]}
        code = TRIES[attempt].format(**places)
        outcome = machine.run(f"{code}\nprint('reached')", BOUNDS)
    assert (outcome.exit_code, outcome.stdout) == (1, ""), outcome.stderr


def test_code_that_leaves_a_child(code_folder: Path) -> None:
    """Code run in an env leaves a process in a session of its own"""
    machine = machine_named("whole", code_folder)
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nprint('left')"
    outcome = machine.run(code, BOUNDS)
    assert outcome.stdout == "left\n", outcome.stderr
    assert none_left(machine)
