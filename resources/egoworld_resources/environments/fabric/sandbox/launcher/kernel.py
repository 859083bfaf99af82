"""Calls of Linux that Python 3.11 lacks, each raising OSError with the name of what failed."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

MOUNT_SETATTR = 442
"""Number of mount_setattr(2), the same on every architecture; C libraries before glibc 2.36 have no function for it."""
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
KEPT_BY_REMOUNT = MS_NOSUID | MS_NODEV | MS_NOEXEC
"""Flags that statvfs(3) reports with the numbers of mount(2), and that a user namespace may not take away."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _path(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def unshare(flags: int, what: str) -> None:
    """Leave the namespaces named by ``flags``, see unshare(2)."""
    _checked(_libc.unshare(flags), f"unshare of the {what} namespace")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """See mount(2)."""
    done = _libc.mount(_path(source), _path(target), _path(kind), ctypes.c_ulong(flags), _path(options))
    _checked(done, f"mount of {kind or source or 'new flags'} at {target}")


def bind(source: str, target: str) -> None:
    """Let ``target`` show ``source`` and all that is mounted below it."""
    mount(source, target, None, MS_BIND | MS_REC)


def close_to_writing(target: str) -> None:
    """Make a mount and those below it read-only, without devices and set-user-id programs.

    Before Linux 5.12 only the mount itself: what is mounted below it keeps its flags.
    """
    wanted = MS_RDONLY | MS_NOSUID | MS_NODEV
    attributes = _Attributes(wanted, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    if _libc.syscall(MOUNT_SETATTR, AT_FDCWD, _path(target), AT_RECURSIVE, ctypes.byref(attributes), size) != 0:
        kept = os.statvfs(target).f_flag & KEPT_BY_REMOUNT
        mount(None, target, None, MS_REMOUNT | MS_BIND | wanted | kept)


def unmount(target: str) -> None:
    """Take a mount out of sight; it ends when nobody uses it."""
    _checked(_libc.umount2(_path(target), MNT_DETACH), f"unmount of {target}")


def pivot_root(folder: str) -> None:
    """Make ``folder`` the root and drop the old one, see pivot_root(2), "pivot_root(".", ".")"."""
    os.chdir(folder)
    _checked(_libc.pivot_root(b".", b"."), f"pivot_root to {folder}")
    unmount(".")
    os.chdir("/")


def prctl(option: int, value: int | ctypes.c_void_p, what: str, second: ctypes.c_void_p | None = None) -> None:
    """See prctl(2)."""
    first = value if isinstance(value, ctypes.c_void_p) else ctypes.c_ulong(value)
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, first, second if second is not None else zero, zero, zero), what)


def die_with_parent(signal: int) -> None:
    """Get ``signal`` when the parent dies. A change of user takes this away again: call it after that."""
    prctl(PR_SET_PDEATHSIG, signal, "prctl(PR_SET_PDEATHSIG)")


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter, an array of struct sock_filter."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    filled = Program(len(program) // 8, program)
    mode = 2
    prctl(PR_SET_SECCOMP, mode, "seccomp filter", ctypes.c_void_p(ctypes.addressof(filled)))
