"""Take a model in from a hub: pinned to a commit, every byte compared with what the hub says of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import rmtree

from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.licences.expressions import canonical
from egoworld_resources.weights.errors import HubUnreachable, WeightsRefused
from egoworld_resources.weights.hubs import Hub, HubFile, Listing, size_of
from egoworld_resources.weights.manifest import ModelManifest, Part, WeightsFile, format_of
from egoworld_resources.weights.pickles import reason_of
from egoworld_resources.weights.staging import OTHER_NAME, Staging, staging
from egoworld_resources.weights.verify import Unreadable, digest_of

FRUITLESS = 2
"""How often a hub may be asked without more of the model arriving than ever before."""

Progress = Callable[[int, int], None]
"""Gets how many bytes are here, and of how many."""


@dataclass(frozen=True)
class Order:
    """What is wanted. include, exclude: globs of paths, * crosses folders; licence: over what the hub says."""

    repo: str
    revision: str
    name: str = ""
    licence: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    workers: int = 4

    @property
    def model(self) -> str:
        return self.name or self.repo.partition("/")[2]

    def wants(self, path: str) -> bool:
        """Whether a file is wanted."""
        taken = not self.include or any(fnmatchcase(path, glob) for glob in self.include)
        return taken and not any(fnmatchcase(path, glob) for glob in self.exclude)


def allowed(source: str, sources: Sequence[str]) -> None:
    """Raise BadConfiguration unless a source is on the list of this site."""
    if not any(fnmatchcase(source, glob) for glob in sources):
        listed = ", ".join(sources) or "none"
        raise BadConfiguration(f"{source} is no source of this site; weights_sources allows {listed}")


def download(
    hub: Hub, order: Order, home: Path, progress: Progress | None = None, exceptions: Collection[str] = ()
) -> Path:
    """Fetch a model below the model home; returns its folder, which is whole whenever it is there.

    What arrived is kept when this ends early, and the next call goes on. exceptions: sha256 of pickles that are taken;
    others are refused before anything is fetched where their names tell, else when they are here. Raises WeightsRefused
    for them and for bytes that are not those the hub names, HubUnreachable when it stalls or breaks off, DiskFull,
    LockBusy.
    """
    source = f"{hub.name}:{order.repo}"
    key = digest([source, order.revision, sorted(order.include), sorted(order.exclude)])[:16]
    with staging(home, order.model, key, exceptions) as place:
        client = place.begun / "client"
        listing = hub.list(order.repo, order.revision, client)
        _check_pinned(source, order, listing)
        wanted = [file for file in listing.files if order.wants(file.path)]
        if not wanted:
            raise WeightsRefused(f"{source} has no file that is wanted; it has {len(listing.files)} others")
        _check_pickles(source, wanted, exceptions)
        licence = _licence(source, order, listing)
        there = place.manifest_there()
        if there is None:
            digests = _Fetching(hub, order, place, wanted, progress or (lambda _done, _total: None)).run()
            rmtree(client, ignore_errors=True)
            files = [_described(file, digests[file.path]) for file in wanted]
            part = Part(source=source, revision=order.revision, licence=licence, files=files)
            return place.publish(ModelManifest(model=order.model, parts=[part]))
        place.clear()
        if _same(there, source, order.revision, wanted):
            return place.target
    raise WeightsRefused(f"{place.target} is there already, with other files; {OTHER_NAME}")


class _Fetching:
    """One download. Files are judged when they arrive, by what the hub said of them before."""

    def __init__(self, hub: Hub, order: Order, place: Staging, wanted: Sequence[HubFile], progress: Progress) -> None:
        self._hub, self._order, self._place, self._progress = hub, order, place, progress
        self._wanted = {file.path: file for file in wanted}
        self._digests: dict[str, str] = {}
        self._wrong: dict[str, str] = {}
        self._most = -1

    def run(self) -> Mapping[str, str]:
        """SHA-256 by path, when all are kept."""
        for path, file in self._wanted.items():
            if found := judged(self._place.files / path, file)[0]:
                self._digests[path] = found
        self._place.need_space(self._missing_bytes())
        fruitless, reasons = 0, dict[str, str]()
        with naming_a_full_disk(self._place.files):
            while missing := self._missing():
                if fruitless == FRUITLESS:
                    raise HubUnreachable(self._why(reasons, missing))
                time.sleep(fruitless)
                reasons |= self._once(missing)
                fruitless = 0 if self._got_further() else fruitless + 1
        return self._digests

    def _once(self, missing: Sequence[HubFile]) -> dict[str, str]:
        parts = {self._place.part(file.path): file for file in missing}
        for part, file in parts.items():
            if size_of(part) > file.bytes:
                self._discard(part)
        whole = sum(self._wanted[path].bytes for path in self._digests)
        total = sum(file.bytes for file in self._wanted.values())
        for file in missing:
            if self._place.part(file.path).is_file() and size_of(self._place.part(file.path)) == file.bytes:
                self._arrived(file.path)
        left = {part: file for part, file in parts.items() if file.path not in self._digests}
        return dict(
            self._hub.fetch(
                self._order.repo,
                self._order.revision,
                left,
                self._place.begun / "client",
                self._order.workers,
                self._arrived,
                lambda here: self._progress(min(total, whole + here), total),
            )
        )

    def _arrived(self, path: str) -> None:
        file, part = self._wanted[path], self._place.part(path)
        found, reason = judged(part, file)
        if found:
            self._place.keep(part, path)
            self._digests[path] = found
            return
        self._discard(part)
        if path in self._wrong:
            raise WeightsRefused(f"{self._hub.name}: {self._order.repo}: {path} came wrong twice: it {reason}")
        self._wrong[path] = reason

    def _discard(self, part: Path) -> None:
        part.unlink(missing_ok=True)
        rmtree(part.with_suffix(".client"), ignore_errors=True)

    def _missing(self) -> list[HubFile]:
        return [file for path, file in self._wanted.items() if path not in self._digests]

    def _missing_bytes(self) -> int:
        return sum(max(0, file.bytes - size_of(self._place.part(file.path))) for file in self._missing())

    def _got_further(self) -> bool:
        here = sum(file.bytes for file in self._wanted.values()) - self._missing_bytes() + len(self._digests)
        further, self._most = here > self._most, max(here, self._most)
        return further

    def _why(self, reasons: Mapping[str, str], missing: Sequence[HubFile]) -> str:
        of_files = [f"{path}: {reason}" for path, reason in reasons.items() if path and path not in self._digests]
        said = "; ".join([*of_files[:1], *filter(None, [reasons.get("")])]) or "it gave no reason"
        return (
            f"{self._hub.name}: {len(missing)} of {len(self._wanted)} files of {self._order.repo} did not arrive, "
            f"{missing[0].path} first: {said}. What arrived is kept; run it again to go on"
        )


def judged(path: Path, wanted: HubFile) -> tuple[str, str]:
    """The sha256 of a file that is what the hub says, else "" and why it is not."""
    git = hashlib.sha1(f"blob {wanted.bytes}\0".encode(), usedforsecurity=False)
    try:
        size = path.stat(follow_symlinks=False).st_size
        found = digest_of(path, taken=None if wanted.sha256 else git.update) if size == wanted.bytes else ""
    except (FileNotFoundError, Unreadable) as error:
        return "", str(error)
    if not found:
        return "", f"has {size:,} bytes, the hub says {wanted.bytes:,}"
    if wanted.sha256 and found != wanted.sha256:
        return "", f"has sha256 {found}, the hub says {wanted.sha256}"
    if not wanted.sha256 and git.hexdigest() != wanted.git:
        return "", f"has the blob id {git.hexdigest()}, the hub says {wanted.git}"
    return found, ""


def _check_pinned(source: str, order: Order, listing: Listing) -> None:
    if len(order.revision) != 40 or listing.commit != order.revision:
        newest = f"{order.revision or 'the newest'} is {listing.commit}" if listing.commit else "see its page"
        raise WeightsRefused(f"{source}: name the full commit: --revision, 40 hex digits; {newest}")


def _check_pickles(source: str, wanted: Sequence[HubFile], exceptions: Collection[str]) -> None:
    named = [
        file for file in wanted if format_of(file.path) == "pickle" and file.sha256 and file.sha256 not in exceptions
    ]
    if named:
        lines = [f"refused: {file.path}: {reason_of(file.sha256)}" for file in named]
        raise WeightsRefused(f"{source} is not taken in:\n" + "\n".join(lines))


def _licence(source: str, order: Order, listing: Listing) -> str:
    if found := order.licence or canonical(listing.licence):
        return found
    said = f"'{listing.licence}'" if listing.licence else "nothing"
    raise WeightsRefused(f"{source}: its hub says {said} of the licence; read it there and say it: --licence SPDX-ID")


def _described(file: HubFile, sha256: str) -> WeightsFile:
    return WeightsFile(path=file.path, bytes=file.bytes, sha256=sha256, format=format_of(file.path))


def _same(there: ModelManifest, source: str, revision: str, wanted: Sequence[HubFile]) -> bool:
    same_source = [(part.source, part.revision) for part in there.parts] == [(source, revision)]
    return same_source and {file.path for file in there.files()} == {file.path for file in wanted}
