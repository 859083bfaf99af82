"""The filter of system calls: what a program has no use for, and what would open a way around its bounds.

New namespaces (a user namespace would make it root of its own mounts), mounts, looking into other processes, keys,
eBPF, io_uring (it runs calls past the filter), sockets other than the usual ones (a machine's AF_VSOCK leads to its
host, past every network namespace), files with a set-id bit (they would outlive the sandbox). A call is refused with an
error, nothing is killed. Source: seccomp(2); Linux's include/uapi/linux/{seccomp,filter,audit}.h; the call table of
x86-64, the only machine that envs are locked for.
"""

from __future__ import annotations

import errno
import struct

MACHINE = "x86_64"
AUDIT_ARCH = 0xC000003E
OTHER_TABLE = 0x40000000
"""Numbers from here on are those of the x32 table, which would name the same calls again."""

REFUSED = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467, "swapon": 167,
    "unshare": 272, "setns": 308, "open_by_handle_at": 304, "fanotify_init": 300, "quotactl": 179, "quotactl_fd": 443,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "add_key": 248, "request_key": 249, "keyctl": 250, "acct": 163, "syslog": 103, "reboot": 169,
    "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320,
}  # fmt: skip
UNCOUNTED_MEMORY = {"memfd_create": 319, "memfd_secret": 447, "shmget": 29}
"""Memory that no process has mapped: only a control group counts it, so without one it is refused."""
CLONE, CLONE3, SOCKET = 56, 435, 41
NEW_NAMESPACES = 0x7E020000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

LOAD, JUMP_EQUAL, JUMP_ABOVE, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
ARGUMENT_BYTES = 8
SET_ID = 0o6000
MODES = {"chmod": (90, 1), "fchmod": (91, 1), "fchmodat": (268, 2), "fchmodat2": (452, 2), "creat": (85, 1)} | {
    "mkdir": (83, 1), "mkdirat": (258, 2), "mknod": (133, 1), "mknodat": (259, 2),
}  # fmt: skip
"""Calls that give a file its mode, with the argument that is it. A set-id file would outlive the sandbox."""
OPENS = {"open": (2, 1), "openat": (257, 2)}
"""Calls that do so when their flags, this argument, say that a file is made; the mode is the argument after it."""
MAKES_A_FILE = 0o100 | 0o20000000
OPENAT2 = 437
"""Its mode is in memory, where a filter cannot see it; a C library does without it."""


def _do(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One struct sock_filter; ``then`` and ``otherwise`` are instructions to skip."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _refuse(number: int, error: int) -> bytes:
    return _do(JUMP_EQUAL, number, 0, 1) + _do(RETURN, ERROR | error)


def _load_argument(index: int) -> bytes:
    """The lower half of an argument."""
    return _do(LOAD, FIRST_ARGUMENT + ARGUMENT_BYTES * index)


def _refuse_set_id(number: int, mode: int) -> bytes:
    last = (_do(JUMP_ANY_BIT, SET_ID, 0, 1), _do(RETURN, ERROR | errno.EPERM), _do(RETURN, ALLOW))
    return b"".join((_do(JUMP_EQUAL, number, 0, 4), _load_argument(mode), *last))


def _refuse_set_id_of_new(number: int, flags: int) -> bytes:
    last = (_do(JUMP_ANY_BIT, SET_ID, 0, 1), _do(RETURN, ERROR | errno.EPERM), _do(RETURN, ALLOW))
    made = (_load_argument(flags), _do(JUMP_ANY_BIT, MAKES_A_FILE, 0, 3), _load_argument(flags + 1))
    return b"".join((_do(JUMP_EQUAL, number, 0, 6), *made, *last))


def program(*, network: bool, counted: bool) -> bytes:
    """The filter as an array of struct sock_filter.

    network: the code has a network of its own, so it may use it; else no socket but AF_UNIX can be made.
    counted: a control group counts all memory.
    """
    refused = REFUSED if counted else REFUSED | UNCOUNTED_MEMORY
    families = (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK) if network else (AF_UNIX,)
    sockets = b"".join(_do(JUMP_EQUAL, family, len(families) - index) for index, family in enumerate(families))
    return b"".join(
        (
            _do(LOAD, ARCHITECTURE),
            _do(JUMP_EQUAL, AUDIT_ARCH, 1, 0),
            _do(RETURN, ERROR | errno.EPERM),
            _do(LOAD, NUMBER),
            _do(JUMP_ABOVE, OTHER_TABLE, 0, 1),
            _do(RETURN, ERROR | errno.ENOSYS),
            # A C library falls back to clone, whose flags can be seen here; those of clone3 are in memory.
            _refuse(CLONE3, errno.ENOSYS),
            _refuse(OPENAT2, errno.ENOSYS),
            *(_refuse_set_id(number, mode) for number, mode in MODES.values()),
            *(_refuse_set_id_of_new(number, flags) for number, flags in OPENS.values()),
            *(_refuse(number, errno.EPERM) for number in refused.values()),
            _do(JUMP_EQUAL, CLONE, 0, 4),
            _do(LOAD, FIRST_ARGUMENT),
            _do(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1),
            _do(RETURN, ERROR | errno.EPERM),
            _do(RETURN, ALLOW),
            _do(JUMP_EQUAL, SOCKET, 0, len(families) + 2),
            _do(LOAD, FIRST_ARGUMENT),
            sockets,
            _do(RETURN, ERROR | errno.EACCES),
            _do(RETURN, ALLOW),
        )
    )
