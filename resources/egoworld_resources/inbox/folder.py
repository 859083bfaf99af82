"""The contents of the inbox: files to take, files to wait for, and other entries. The inbox of a folder."""

from __future__ import annotations

import json
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Literal, Protocol

from egoworld_resources.inbox.arrivals import Arrival, Arrivals, uploader_of
from egoworld_resources.inbox.first_bytes import beside_a_video
from egoworld_resources.inbox.origins import FileOrigin, Refused, identity_of
from egoworld_resources.layout import readable

UNFINISHED = (".part", ".partial", ".crdownload", ".tmp", ".filepart")
"""Suffixes that transfer programs give to what they have not finished."""


CLOCK_GRAIN_S = 0.1
"""Change times may lag the clock by a tick of the kernel; the cursor stays that far behind."""

SECONDS = 20.0
"""No file is begun later in a tick; Dagster ends a tick after 60 s."""
WATCHED = 1_000
"""How many new files at a time are looked at twice before they are taken."""
JUNK = 10
"""Refusing a file costs a tick a tenth of what taking one does."""
ASIDE = "files that cameras and systems write beside videos"

State = Literal["ready", "waiting", "refused", "aside"]


@dataclass(frozen=True)
class LeftOut:
    """An entry of the inbox that is not to be taken (yet), and why."""

    name: str
    state: State
    why: str


@dataclass(frozen=True)
class Tick:
    """The result of one look at the inbox. cursor: the input of the next look, once this one has counted."""

    taken: Sequence[Arrival]
    refused: Sequence[str]
    cursor: str


class Budget:
    """What a tick may still do: take this many files, or refuse JUNK times as many, and start none after SECONDS.

    Each uploader has a quarter of it, and the rest once everybody has had a turn.
    """

    def __init__(self, at_most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._left, self._share = float(at_most), at_most / 4
        self._spent: Counter[str] = Counter()
        self._clock, self._end = clock, clock() + SECONDS

    def over(self) -> bool:
        """Whether nothing more may be begun."""
        return self._left <= 0 or self._clock() > self._end

    def had_a_turn(self, name: str) -> bool:
        """Whether the uploader of a file has had its quarter."""
        return self._spent[uploader_of(name)] >= self._share

    def spend(self, name: str, *, refused: bool = False) -> None:
        """Count a file that was taken or refused."""
        cost = 1 / JUNK if refused else 1
        self._left -= cost
        self._spent[uploader_of(name)] += cost  # pyright: ignore[reportArgumentType] (a Counter of parts)


class Inbox(Protocol):
    """Where videos arrive."""

    @property
    def where(self) -> str:
        """For people: a path or an s3:// URL."""
        ...

    def left_out(self) -> Iterable[LeftOut]:
        """What is not to be taken now."""
        ...

    def tick(self, arrivals: Arrivals, cursor: str | None, at_most: int) -> Tick:
        """Take what is new, reading a bounded number of files. With an old cursor it reports all of it again."""
        ...


@dataclass(frozen=True)
class InboxFile:
    """One entry. name: path below the inbox; folder: identity of the folder that it is in, with its path.

    changed_ns: time of its last change, which a move into the inbox renews and no program can set back; by the clock of
    the machine that keeps the file. identity: what changes whenever its bytes do.
    """

    path: Path
    name: str
    folder: str
    changed_ns: int
    state: State
    why: str = ""
    identity: str = ""


@dataclass
class Cursor:
    """How far a folder was seen: change time (ns) of the newest file, and the folders that were seen whole.

    Moving a folder into the inbox renews no file's change time, so all files of a folder that is new here count.
    watched: new files by name, each with its identity and the time of the first look that gave it.
    """

    at: int = 0
    folders: set[str] = field(default_factory=set[str])
    watched: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """Parse what ``write`` gave; anything else starts from the beginning, which costs time and doubles nothing."""
        try:
            raw = json.loads(text or "{}")
            watched = {name: (str(identity), float(since)) for name, (identity, since) in raw["watched"].items()}
            return cls(int(raw["at"]), set(raw["folders"]), watched)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self) -> str:
        """As text for Dagster."""
        return json.dumps({"at": self.at, "folders": sorted(self.folders), "watched": self.watched})

    def passed(self, file: InboxFile) -> bool:
        """Whether a file was dealt with in an earlier tick."""
        return file.changed_ns < self.at and file.folder in self.folders


class FolderInbox:
    """A folder of this machine; a file is taken once two looks, ``settle_s`` seconds apart, find it the same.

    What the clock of the machine says that keeps the file does not matter: it may be ahead of ours, or behind.
    """

    def __init__(self, folder: Path, settle_s: float, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._clock = clock

    @property
    def where(self) -> str:
        return str(self._folder)

    def left_out(self) -> Iterable[LeftOut]:
        files = look(self._folder)
        shown = [file for file in files if file.state in ("waiting", "refused")]
        now = self._clock() * 1e9
        found = [LeftOut(readable(file.name), file.state, file.why) for file in shown]
        found += [
            LeftOut(readable(file.name), "waiting", "it changed just now; it is taken once it rests")
            for file in files
            if file.state == "ready" and now - self._settle_s * 1e9 < file.changed_ns <= now
        ]
        return found + aside([file.name for file in files if file.state == "aside"])

    def tick(self, arrivals: Arrivals, cursor: str | None, at_most: int) -> Tick:
        began = self._clock()
        files = look(self._folder)
        arrivals.forget_refusals(file.name for file in files)
        reached = Cursor.read(cursor)
        ready = [file for file in files if file.state == "ready"]
        new = list(in_turn([file for file in ready if not reached.passed(file)]))
        resting, watched = rested(arrivals, new, reached.watched, began, self._settle_s)
        taken, refused, left = take_ready(arrivals, resting, reached, at_most)
        left += new[len(resting) + len(watched) :]
        waiting = [file for file in new if file.name in watched]
        again = {file.folder for file in left} | {file.folder for file in waiting} - reached.folders
        newest = int((began - max(self._settle_s, CLOCK_GRAIN_S)) * 1e9)
        at = min([reached.at, newest, *(file.changed_ns for file in waiting if file.folder not in again)])
        return Tick(taken, refused, Cursor(at, {file.folder for file in files} - again, watched).write())


def rested(
    arrivals: Arrivals, files: Sequence[InboxFile], watched: dict[str, tuple[str, float]], now: float, settle_s: float
) -> tuple[list[InboxFile], dict[str, tuple[str, float]]]:
    """Files that are the same as ``settle_s`` ago, or known, and those of the others that are watched from now on."""
    resting: list[InboxFile] = []
    next_time: dict[str, tuple[str, float]] = {}
    for file in files:
        identity, since = watched.get(file.name, ("", now))
        if identity != file.identity or since > now:
            since = now
        if now - since >= settle_s or arrivals.known(FileOrigin(file.path), file.name):
            resting.append(file)
        else:
            next_time[file.name] = (file.identity, since)
        if len(next_time) >= WATCHED:
            break
    return resting, next_time


def take_ready(
    arrivals: Arrivals, files: Sequence[InboxFile], cursor: Cursor, at_most: int
) -> tuple[list[Arrival], list[str], list[InboxFile]]:
    """Take files, as far as a tick goes; move the cursor on.

    Returns what was taken, why others were refused, and what was left for the next tick. Files at the cursor come
    again then, for free: a file that is known is not read.
    """
    taken: list[Arrival] = []
    refused: list[str] = []
    left: list[InboxFile] = []
    budget = Budget(at_most)
    for file in files:
        if budget.over():
            left.append(file)
            continue
        cursor.at = max(cursor.at, file.changed_ns)
        origin = FileOrigin(file.path)
        if arrivals.refused(origin, file.name):
            continue
        try:
            arrival = arrivals.bring(origin, file.name)
        except Refused as error:
            refused.append(str(error))
            budget.spend(file.name, refused=True)
            continue
        if not arrival.known:
            budget.spend(file.name)
        if arrival.to_be_made:
            taken.append(arrival)
    return taken, refused, left


def in_turn(files: Iterable[InboxFile]) -> Iterator[InboxFile]:
    """One file of each uploader after the other, each uploader's in their order."""
    by_uploader: dict[str, list[InboxFile]] = {}
    for file in files:
        by_uploader.setdefault(uploader_of(file.name), []).append(file)
    return (file for round_ in zip_longest(*by_uploader.values()) for file in round_ if file)


def aside(names: Sequence[str]) -> list[LeftOut]:
    """All files that cameras and systems write beside videos, as one line."""
    if not names:
        return []
    count = f"{len(names):,} such file{'s' if len(names) > 1 else ''}, for example {readable(names[0])!r}"
    return [LeftOut(ASIDE, "aside", f"{count}: nothing is made of them")]


def look(inbox: Path) -> list[InboxFile]:
    """Everything below the inbox except hidden names, oldest first."""
    found: list[InboxFile] = []
    unlisted: list[OSError] = []
    for folder, folders, files in os.walk(inbox, followlinks=False, onerror=unlisted.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = _folder(inbox, Path(folder))
        for name in (*folders, *files):
            if not name.startswith(".") or name.startswith("._"):
                found += _entry(inbox, Path(folder, name), here)
    for error in unlisted:
        if error.filename and Path(error.filename) != inbox:
            path = Path(error.filename)
            why = f"{readable(path.name)!r} cannot be listed ({error.strerror}); allow reading the folder"
            found.append(InboxFile(path, path.relative_to(inbox).as_posix(), "", 0, "refused", why))
    return sorted(found, key=lambda file: (file.changed_ns, file.name))


def _folder(inbox: Path, folder: Path) -> str:
    try:
        facts = folder.lstat()
    except FileNotFoundError:
        return ""
    return f"{facts.st_dev}:{facts.st_ino}:{readable(folder.relative_to(inbox).as_posix())}"


def _entry(inbox: Path, path: Path, folder: str) -> Iterator[InboxFile]:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    name, shown = path.relative_to(inbox).as_posix(), repr(readable(path.name))
    if stat.S_ISDIR(facts.st_mode):
        if path.suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi"):
            why = f"{shown} is a folder with the name of a video; its contents are taken"
            yield InboxFile(path, name, folder, facts.st_ctime_ns, "refused", why)
        return
    why = ""
    if stat.S_ISLNK(facts.st_mode):
        why = f"{shown} is a symbolic link; put the file itself into the inbox"
    elif not stat.S_ISREG(facts.st_mode):
        why = f"{shown} is not a regular file; put a video file into the inbox"
    state: State = "refused" if why else "ready"
    if beside_a_video(name):
        state, why = "aside", "a file that a camera or a system writes beside videos"
    if state == "ready" and path.name.endswith(UNFINISHED):
        state, why = (
            "waiting",
            f"{path.suffix} is the suffix of an unfinished transfer; it is taken under its final name",
        )
    yield InboxFile(path, name, folder, facts.st_ctime_ns, state, why, identity_of(facts))
