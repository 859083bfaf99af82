"""The root file system of one run: the system's programs, the env and its interpreter, and nothing else of the machine.

Everything is read-only but /scratch (the working directory), /tmp and /dev/shm, which share one file system in memory
whose size is the disk bound. What lies in it counts as memory of the run's control group.
"""

from __future__ import annotations

import os
import stat

from egoworld_resources.environments.fabric.sandbox.launcher import kernel
from egoworld_resources.environments.fabric.sandbox.launcher.plan import PROC, Plan

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "fonts", "mime.types")
DEVICES = ("null", "zero", "full", "random", "urandom")
STREAMS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
NAMES = {
    "passwd": "root:x:0:0::/:/usr/sbin/nologin\ncode:x:{uid}:{uid}::/scratch:/bin/sh\n",
    "group": "root:x:0:\ncode:x:{uid}:\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
FRAME_BYTES = 4 << 20
"""Size of the file system that holds folders to mount on, and the code."""
SCRATCH = "/scratch"
CODE = "/run/main.py"


def make(plan: Plan, code: bytes, uid: int) -> None:
    """Make the root file system on the scratch folder, in a mount namespace of our own, and change into it."""
    root = plan["scratch"]
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    options = f"size={FRAME_BYTES + len(code)},mode=755"
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
    for folder in SYSTEM:
        _show_system(root, folder)
    for name in ETC:
        if os.path.exists(f"/etc/{name}"):
            show(f"/etc/{name}", f"{root}/etc/{name}")
    _devices(root)
    _writable(root, plan["disk_bytes"], uid)
    _show_trees(root, plan)
    for name, text in NAMES.items():
        _write(f"{root}/etc/{name}", text.format(uid=uid).encode())
    _write(f"{root}{CODE}", code)
    _folder(f"{root}/proc")
    if PROC in plan["allowed"]:
        kernel.mount("proc", f"{root}/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.pivot_root(root)
    closed = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount(None, "/", None, kernel.MS_REMOUNT | kernel.MS_BIND | closed)


def show(source: str, target: str) -> None:
    """Let a file or folder appear at ``target``, read-only."""
    if os.path.isdir(source):
        _folder(target)
    else:
        _write(target, b"")
    kernel.bind(source, target)
    kernel.close_to_writing(target)


def _show_system(root: str, folder: str) -> None:
    if os.path.islink(folder):
        os.symlink(os.readlink(folder), root + folder)
    elif os.path.isdir(folder):
        show(folder, root + folder)


def _show_trees(root: str, plan: Plan) -> None:
    """The interpreter's folders and the env. Where one lies in what is shown already, its neighbours are covered."""
    shown: list[str] = [*SYSTEM]
    for source, target in plan["trees"]:
        if any(target.startswith(f"{tree}/") for tree in shown) and target == plan["env_folder"]:
            envs = os.path.dirname(os.path.dirname(target))
            kernel.mount("tmpfs", root + envs, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
        shown.append(target)
        if not os.path.exists(root + target) or target == plan["env_folder"]:
            show(source, root + target)
    for link, said in plan["links"]:
        if not os.path.lexists(root + link):
            _folder(root + os.path.dirname(link))
            os.symlink(said, root + link)


def _devices(root: str) -> None:
    for name in DEVICES:
        _write(f"{root}/dev/{name}", b"")
        kernel.bind(f"/dev/{name}", f"{root}/dev/{name}")
    for name, target in STREAMS.items():
        os.symlink(target, f"{root}/dev/{name}")


def _writable(root: str, size: int, uid: int) -> None:
    """One file system for all that may be written, so that one bound holds for it."""
    whole = f"{root}/.disk"
    _folder(whole)
    files = max(1024, min(size // 4096, 1 << 20))
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", whole, "tmpfs", flags, f"size={size},nr_inodes={files},mode=755")
    for name in (SCRATCH, "/tmp", "/dev/shm"):
        part = f"{whole}/{os.path.basename(name)}"
        _folder(part)
        _folder(root + name)
        os.chown(part, uid, uid)
        os.chmod(part, stat.S_IRWXU)
        kernel.mount(part, root + name, None, kernel.MS_BIND)
    kernel.unmount(whole)
    os.rmdir(whole)


def _folder(path: str) -> None:
    os.makedirs(path, mode=0o755, exist_ok=True)


def _write(path: str, content: bytes) -> None:
    _folder(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(content)
