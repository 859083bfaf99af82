"""Unix sockets in folders that their owner alone may enter: what listens there is reached by no other local user."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from egoworld_resources.errors import BadConfiguration

LONGEST = 107
"""Bytes of a socket's path on Linux."""
ROOM = 38
"""What names below a runtime folder may take of them: a subfolder, the socket, a suffix while it is made."""
BACKLOG = 2048
TRY_S = 2.0
"""Seconds after which what does not accept a connection counts as busy."""
SHORT = Path("/tmp")  # not TMPDIR: every process of a server has to come to the same path


def runtime_folder(state: Path) -> Path:
    """Where the sockets of the server whose state lies in ``state`` are: below it, or for long paths under /tmp.

    Makes nothing; ``private_folder`` makes it, and refuses one that somebody else made.
    """
    below = state / "run"
    if len(os.fsencode(below)) + ROOM <= LONGEST:
        return below
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:12]
    return SHORT / f"egoworld-{os.getuid()}-{digest}"


def private_folder(path: Path, mode: int = 0o700, owner: int | None = None, found_as: int | None = None) -> Path:
    """Make a folder that its owner alone may list and write, or see that the one which is there is such a folder.

    mode: 0700, or 0711 where others pass through to what is theirs; owner: another than us, when we are root.
    found_as: the widest mode that one which is there may have, by default ``mode``. Raises BadConfiguration when it is
    a link, cannot be made, or somebody else owns it or may do more there: who can write there can put a socket of
    their own in the place of ours.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(mode)  # whatever the umask is
            if owner is not None:
                os.chown(path, owner, -1)
        found = path.lstat()
    except OSError as error:
        raise BadConfiguration(f"the folder of the socket, {path}, cannot be made: {error.strerror}") from error
    fix = "remove it, or put home (EGOWORLD_HOME) where nobody else can write"
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != (os.geteuid() if owner is None else owner):
        raise BadConfiguration(f"{path} is a link or belongs to user {found.st_uid}, so it is not safe to use; {fix}")
    if stat.S_IMODE(found.st_mode) & 0o077 & ~(mode if found_as is None else found_as):
        raise BadConfiguration(f"{path} is open to other users of this machine; run: chmod {mode:o} {path}")
    return path


def listening(path: Path, backlog: int = BACKLOG) -> socket.socket:
    """A socket of mode 0600 that listens at ``path``, in a folder that nobody else may write to; made with mode 0700.

    A socket that a killed process left there is replaced. Raises BadConfiguration when something listens there already,
    when another file has that name, or when the path is too long.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise BadConfiguration(f"{path} is longer than {LONGEST} bytes, which no Unix socket may be; choose another")
    private_folder(path.parent, found_as=0o755)
    if answers(path):
        raise BadConfiguration(f"cannot listen at {path}: another process listens there; end it, or choose another")
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        if path.is_socket():
            path.unlink()
        made.bind(str(path))
        made.listen(backlog)
    except OSError as error:
        made.close()
        raise BadConfiguration(f"cannot listen at {path}: {error}; choose another") from error
    finally:
        os.umask(before)
    return made


def answers(path: Path) -> bool:
    """Whether something listens at ``path``, be it too busy to accept connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(TRY_S)
        try:
            probe.connect(str(path))
        except (TimeoutError, BlockingIOError):
            return True
        except OSError:
            return False
    return True


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float | None = None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
