"""Machines that lack something, for the doctor: real limits, real mounts, system calls that the kernel refuses."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.doctor import Finding, Subject
from egoworld_resources.doctor.examine import all_checks
from egoworld_resources.settings import Settings

CALLS = {
    "fsync": 74,
    "link": 86,
    "linkat": 265,
    "prctl": 157,
    "rename": 82,
    "renameat": 264,
    "renameat2": 316,
    "unshare": 272,
}
"""Numbers of system calls on x86_64."""
FCNTL, SECOND_ARGUMENT = 72, 24

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000

BEGIN = "import sys; from made_doctor import main; main(sys.argv[1])"


def subject(folder: Path, in_force: dict[str, str] | None = None, **more: Any) -> Subject:
    """What is examined: home and uv's cache below ``folder``; ``more`` are settings and fields of Subject."""
    fields = {name: more.pop(name) for name in ("seconds", "free_gb", "thorough") if name in more}
    given = {"home": folder / "home", "uv_cache": folder / "cache", **more}
    return Subject(Settings.load(**given), in_force or {}, **fields)


def findings(title: str, examined: Subject) -> list[Finding]:
    """What one check says, here and now."""
    return list(all_checks()[title](examined))


def one(title: str, examined: Subject) -> Finding:
    """The only finding of a check."""
    [finding] = findings(title, examined)
    return finding


def elsewhere(
    title: str,
    folder: Path,
    *,
    refused: dict[str, int] | None = None,
    limits: dict[int, tuple[int, int]] | None = None,
    mount: str | None = None,
    **more: Any,
) -> list[Finding]:
    """What one check says in a process of its own that lacks something.

    refused: errno by system call, or of a lock; 0 makes it do nothing and say that it did. limits: by RLIMIT number.
    mount: a shell command that may mount over ``folder``/home, in a mount namespace of its own.
    """
    task = {"title": title, "folder": str(folder), "refused": refused or {}, "limits": limits or {}, "more": more}
    command = [sys.executable, "-c", BEGIN, json.dumps(task)]
    if mount is not None:
        (folder / "home").mkdir(exist_ok=True)
        command = [*_mounting(), "sh", "-c", f'cd "$0" && {mount} && exec "$@"', str(folder), *command]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=path, timeout=120)
    assert done.returncode == 0, done.stderr
    return [Finding(**finding) for finding in json.loads(done.stdout)]


def _mounting() -> list[str]:
    """The command prefix that gives a mount namespace; skips where the kernel allows none."""
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    tried = subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this kernel or container allows no mount namespace: {tried.stderr.strip()}")
    return own


def main(text: str) -> None:
    """In the process of its own: lose what is to be lacked, run the check, print what it says."""
    task = json.loads(text)
    check, examined = all_checks()[task["title"]], subject(Path(task["folder"]), **task["more"])
    for number, bounds in task["limits"].items():
        resource.setrlimit(int(number), tuple(bounds))
    if task["refused"]:
        refuse(task["refused"])
    print(json.dumps([asdict(finding) for finding in check(examined)]))


def refuse(calls: dict[str, int]) -> None:
    """Let the kernel answer system calls of this process and its children with an errno (seccomp(2), classic BPF)."""
    program = [(LOAD, 0, 0, 0)]
    for call, number in calls.items():
        if call == "lock":  # fcntl, but only where it locks
            program += [(JUMP_IF_EQUAL, 0, 3, FCNTL), (LOAD, 0, 0, SECOND_ARGUMENT)]
            program += [(JUMP_IF_EQUAL, 0, 1, fcntl.F_OFD_SETLK), (RETURN, 0, 0, REFUSE | number), (LOAD, 0, 0, 0)]
        else:
            program += [(JUMP_IF_EQUAL, 0, 1, CALLS[call]), (RETURN, 0, 0, REFUSE | number)]
    program.append((RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filtering = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) == 0
    pointer = ctypes.cast(ctypes.create_string_buffer(filtering), ctypes.c_void_p)
    assert libc.prctl(PR_SET_SECCOMP, FILTER, pointer, 0, 0) == 0, os.strerror(ctypes.get_errno())


def executable(path: Path, script: str) -> Path:
    """A shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
