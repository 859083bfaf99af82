"""Fixtures for code in an env: ``code_folder``, ``machine``.

whole: all means that this machine allows to the user of the tests; ordinary: an ordinary user's; own user: root, where
the kernel grants no namespace and no control group; bare: an ordinary user, where it grants none either.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made_code import Machine, as_other_user, make_folder, open_python

MACHINES = ("whole", "ordinary", "own user", "bare")


@pytest.fixture(scope="session")
def code_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    python = open_python()
    if python is None:
        pytest.skip("no interpreter here that every user may start")
    made = Path(tempfile.mkdtemp(prefix="egoworld-code-"))
    try:
        make_folder(made, python)
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="session", params=MACHINES)
def machine(request: pytest.FixtureRequest, code_folder: Path) -> Machine:
    """Each machine in turn."""
    return machine_named(request.param, code_folder)


def machine_named(name: str, folder: Path) -> Machine:
    """One of MACHINES; skips where it cannot be had."""
    from egoworld_resources.sandbox import capabilities

    root = os.geteuid() == 0
    if name == "whole":
        return Machine(folder, capabilities().allowed, capabilities().missing)
    if not root or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv(1)")
    if name == "own user":
        means = capabilities().without(*(set(capabilities().allowed) - {"uid", "seccomp"}))
        return Machine(folder, means.allowed, means.missing)
    python = open_python()
    assert python is not None
    command = as_other_user(folder, python, *(["bare"] if name == "bare" else []))
    asked = subprocess.run(command, input=b"{}", capture_output=True, check=False)
    if asked.returncode != 0 and b"unshare of the user namespace" in asked.stderr:
        pytest.skip("this kernel lets an ordinary user enter no user namespace")
    told = json.loads(asked.stdout)
    if name == "ordinary" and "user" not in told["allowed"]:
        pytest.skip(f"an ordinary user has no namespaces here: {told['missing']}")
    return Machine(folder, told["allowed"], told["missing"], command)


def none_left(machine: Machine) -> bool:
    """Whether no process of the env is left; those that are being ended get their time."""
    until = time.monotonic() + 60
    while machine.processes() and time.monotonic() < until:
        time.sleep(0.01)
    return machine.processes() == []
