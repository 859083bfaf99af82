"""Running code in an env."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from egoworld_resources.sandbox.capability import capabilities
from egoworld_resources.sandbox.draining import Cancel
from egoworld_resources.sandbox.means import MOUNT, Capabilities
from egoworld_resources.sandbox.outcome import Bounds, Outcome, SandboxFailed
from egoworld_resources.sandbox.running import run
from egoworld_resources.sandbox.trees import links, trees
from egoworld_resources.sandbox.walls import SCRATCH, Walls

CODE = "/run/main.py"


def run_code(
    python: Path,
    code: str,
    *,
    env_folder: Path,
    scratch: Path,
    bounds: Bounds,
    pass_fds: Sequence[int] = (),
    means: Capabilities | None = None,
    cancel: Cancel | None = None,
) -> Outcome:
    """Run ``code`` by the interpreter of an env, apart from the service by all means that are allowed here.

    scratch: an existing empty folder. Where mounting is allowed it is only mounted over, else it is the working
    directory and keeps what the code leaves. The rest is as ``run`` has it.
    """
    means = means or capabilities()
    folder = env_folder.resolve()
    below = python.absolute()
    if below.is_relative_to(env_folder.absolute()):
        below = folder / below.relative_to(env_folder.absolute())
    if not os.path.lexists(below):
        raise SandboxFailed(f"code could not be run in {env_folder}: {below} does not exist")
    text = code.encode("utf-8", "surrogatepass")
    mounted = MOUNT in means.allowed
    walls = _walls(below, folder, text, scratch.resolve()) if mounted else Walls(cwd=str(scratch.resolve()))
    if not mounted:
        (scratch / "main.py").write_bytes(text)
        walls = Walls(cwd=str(scratch.resolve()), writable=[str(scratch.resolve())])
    temporary = ("/tmp", SCRATCH) if mounted else (walls.cwd, walls.cwd)
    environment = {
        "PATH": f"{below.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": temporary[1],
        "TMPDIR": temporary[0],
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(below), "-I", "-B", "-u", CODE if mounted else "main.py"]
    try:
        return run(
            command,
            walls=walls,
            bounds=bounds,
            environment=environment,
            pass_fds=pass_fds,
            means=means,
            cancel=cancel,
        )
    except SandboxFailed as error:
        raise SandboxFailed(f"code could not be run in {env_folder}: {error}") from error


def _walls(python: Path, env_folder: Path, code: bytes, disk: Path) -> Walls:
    return Walls(
        read_only=trees(python, env_folder),
        links=links(python),
        files={CODE: code},
        disk=disk,
        hidden=[str(env_folder.parent.parent)],
        cwd=SCRATCH,
    )
