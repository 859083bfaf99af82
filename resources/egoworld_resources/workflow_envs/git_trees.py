"""The files of one git commit, fetched without running anything of it.

No hook, filter, submodule, template or credential helper is used, no redirect followed, and the address that was
checked is the one that is contacted. Nothing is checked out: git writes an archive, of which only plain files, folders
and links inside it are taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from egoworld_resources.environments.policy.addresses import PrivateAddress, Unresolved, listed, reachable
from egoworld_resources.programs.environment import git_environment
from egoworld_resources.programs.output import words_of
from egoworld_resources.programs.redaction import redacted
from egoworld_resources.workflow_envs.errors import (
    IndexSilent,
    InvalidPackages,
    NoSpace,
    PolicyRefused,
    ResolutionFailed,
)
from egoworld_resources.workflow_envs.requirements import GitSource

LONGEST_S = 600
MOST_BYTES = 2 << 30
MOST_FILES = 100_000
CONFIGURATION = (
    *(
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.attributesFile=/dev/null",
        "core.sshCommand=/bin/false",
    ),
    *("core.askPass=/bin/false", "credential.helper=", "protocol.allow=never", "http.followRedirects=false"),
    *("submodule.recurse=false", "fetch.recurseSubmodules=false", "fetch.fsckObjects=true", "gc.auto=0"),
    *("maintenance.auto=false", "http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "http.cookieFile="),
)


def check_source(source: GitSource, private: Iterable[str]) -> tuple[str, ...]:
    """The addresses of its host. Raises PolicyRefused for one of this machine or its network that nobody listed."""
    known, origin = tuple(private), source.origin
    if origin.scheme != "https" and not listed(origin, [one for one in known if "://" in one]):
        raise InvalidPackages(f"{source}: of addresses only git+https://…@<full commit> is taken")
    try:
        return reachable(origin, known)
    except PrivateAddress as error:
        raise PolicyRefused(
            f"{source}: {error}, from which no packages are taken; a site allows it in private_sources of its "
            f'policy.toml: private_sources = ["{origin}"]',
            rule="private_sources",
        ) from error
    except Unresolved as error:
        if any(name.lower() in ("https_proxy", "all_proxy") for name in os.environ):
            return ()  # the site's proxy knows names that this machine does not
        raise IndexSilent(f"{source}: {error}") from error


class GitTrees:
    """Fetches commits. private: addresses of our own network that the policy lists."""

    def __init__(self, private: Iterable[str]) -> None:
        self._private = tuple(private)

    def fetch(self, source: GitSource, folder: Path) -> None:
        """Put the files of the commit into the new ``folder``, readable by everybody.

        Raises PolicyRefused, InvalidPackages, IndexSilent, ResolutionFailed, NoSpace.
        """
        addresses = check_source(source, self._private)
        with TemporaryDirectory(prefix="egoworld-git-", dir=folder.parent) as work:
            git = _Git(Path(work), source, addresses)
            git.fetch()
            archive = Path(work) / "tree.tar"
            git.run("archive", "--format=tar", f"--output={archive}", source.commit)
            unpack(archive, folder, source)


class _Git:
    """git on one bare repository, with no configuration but ours."""

    def __init__(self, work: Path, source: GitSource, addresses: Sequence[str]) -> None:
        self._source = source
        self._repository = work / "repository"
        origin = source.origin
        own = [f"protocol.{origin.scheme}.allow=always"]
        if addresses:
            shown = ",".join(f"[{one}]" if ":" in one else one for one in addresses)
            own.append(f"http.curloptResolve={origin.host}:{origin.port}:{shown}")
        self._options = [word for one in (*CONFIGURATION, *own) for word in ("-c", one)]

    def fetch(self) -> None:
        """The commit alone where the server gives it, else all branches and tags."""
        self._call("init", "--quiet", "--bare", "--template=", str(self._repository), inside=False)
        commit, url = self._source.commit, self._source.url
        alone = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, commit)
        if self._call(*alone).returncode != 0:
            refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            self.run("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--", url, *refs)
        if self._call("cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
            raise ResolutionFailed(f"{self._source}: there is no such commit")

    def run(self, *words: str) -> None:
        done = self._call(*words)
        if done.returncode == 0:
            return
        output = redacted(done.stderr.decode(errors="replace").strip())[-1000:]
        if "File too large" in output or "No space left" in output:
            raise NoSpace(f"{self._source} is larger than {MOST_BYTES >> 30} GiB, or the disk is full")
        raise IndexSilent(f"{self._source} could not be fetched; git says: {output}")

    def _call(self, *words: str, inside: bool = True) -> subprocess.CompletedProcess[bytes]:
        where = ["-C", str(self._repository)] if inside else []
        command = ["prlimit", f"--fsize={MOST_BYTES}", "git", *self._options, *where, *words]
        with words_of(["git", *words]) as log:
            try:
                done = subprocess.run(
                    command,
                    env=git_environment(),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    check=False,
                    timeout=LONGEST_S,
                )
            except subprocess.TimeoutExpired as error:
                raise IndexSilent(f"{self._source} was not fetched within {LONGEST_S} s") from error
            except OSError as error:
                raise IndexSilent(f"{self._source}: git cannot be started here: {error.strerror}") from error
            log.file.write(redacted(done.stderr.decode(errors="replace")).encode())
        return done


def unpack(archive: Path, folder: Path, source: object) -> None:
    """The plain files, folders and inner links of a tar, for everybody to read. Raises NoSpace, InvalidPackages."""
    folder.mkdir()
    size = 0
    try:
        with tarfile.open(archive) as tree:
            for number, member in enumerate(tree):
                size += member.size
                if number > MOST_FILES or size > MOST_BYTES:
                    raise NoSpace(f"{source} has more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB")
                tree.extract(member, folder, set_attrs=False, filter="data")
                if member.isfile() and member.mode & 0o100:
                    (folder / member.name).chmod(0o755)
    except (tarfile.TarError, OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InvalidPackages(f"{source} holds a file that is not taken: {error}") from error
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
