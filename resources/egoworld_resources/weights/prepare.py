"""Bring a model's files from an old place into the model's folder, as its layout has them, and write its manifest."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from egoworld_resources.disk import naming_a_full_disk, sync
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.layouts import Layout, LayoutPart
from egoworld_resources.weights.manifest import MANIFEST, ModelManifest, Part, WeightsFile, format_of
from egoworld_resources.weights.staging import Staging, staging
from egoworld_resources.weights.verify import Found, Unreadable, digests_of, files_below


@dataclass(frozen=True)
class Move:
    """A file that gets its place in the model's folder. path: below that folder; origin may be that very place."""

    origin: Path
    path: str
    bytes: int
    part: LayoutPart


@dataclass(frozen=True)
class Stays:
    """A file that is left where it is, and why."""

    origin: Path
    bytes: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """What prepare would do. moves: files that come under the manifest, stays: those that do not."""

    layout: Layout
    home: Path
    moves: Sequence[Move]
    stays: Sequence[Stays]

    @property
    def target(self) -> Path:
        return self.home / self.layout.model

    @property
    def bytes(self) -> int:
        return sum(move.bytes for move in self.moves)


def plan(layout: Layout, home: Path, options: set[str], old: Path | None = None) -> Plan:
    """What would be done; nothing is written. options: what is asked for beyond the usual.

    old: another folder in the place of the layout's old one. Raises WeightsRefused when there is nothing to take,
    BadConfiguration for a manifest that cannot be read.
    """
    target = home / layout.model
    known = {file.path for file in ModelManifest.read(target).files()} if (target / MANIFEST).is_file() else set[str]()
    here = {found.path: found for found in files_below(target)} if target.is_dir() else {}
    judged = [_judged(layout, options, target, "", found) for found in here.values() if found.path not in known]
    folders = [(old if old and number == 0 else home / one.origin, one.to) for number, one in enumerate(layout.prepare)]
    if old and not old.is_dir():
        raise WeightsRefused(f"{old} does not exist; name the folder with the old files")
    for folder, to in folders:
        for found in files_below(folder) if folder.is_dir() else ():
            path = f"{to}/{found.path}" if to else found.path
            there = path in here and not here[path].refusal
            judged.append(
                Stays(folder / found.path, found.bytes, f"{target / path} is there already")
                if there
                else _judged(layout, options, folder, to, found)
            )
    moves = [one for one in judged if isinstance(one, Move)]
    if not moves and not known:
        looked = ", ".join(map(str, [target, *(folder for folder, _ in folders)]))
        raise WeightsRefused(f"no file of {layout.model} in {looked}; egoworld weights download {layout.model}")
    return Plan(layout, home, moves, [one for one in judged if isinstance(one, Stays)])


def prepare(todo: Plan, exceptions: Collection[str] = ()) -> Path:
    """Do it: files get their places by hard links, or as copies from another disk, and the manifest is written last.

    The old place is left as it is. What was killed is done again without harm. exceptions: sha256 of pickles that are
    taken. Raises WeightsRefused, DiskFull, LockBusy.
    """
    with staging(todo.home, todo.layout.model, "prepare", exceptions) as place, naming_a_full_disk(todo.home):
        for move in todo.moves:
            _place(move, place)
        paths = [move.path for move in todo.moves]
        try:
            digests = digests_of(place.target, paths)
        except Unreadable as error:
            raise WeightsRefused(f"{place.target}: a file {error}") from error
        _sync_folders(place.target, paths)
        there = ModelManifest.read(place.target).parts if (place.target / MANIFEST).is_file() else ()
        parts = _merged([*there, *_parts(todo, digests)])
        manifest = ModelManifest(model=todo.layout.model, parts=parts)
        place.refuse_pickles(place.target, manifest.files())
        place.rewrite(manifest)
        return place.target


def _judged(layout: Layout, options: set[str], folder: Path, to: str, found: Found) -> Move | Stays:
    path = f"{to}/{found.path}" if to else found.path
    part = layout.part_of(path)
    origin = folder / found.path
    if found.refusal:
        return Stays(origin, found.bytes, found.refusal)
    if part is None:
        return Stays(origin, found.bytes, f"is no file of {layout.model}")
    if part.spare and part.option not in options:
        asked = f"; --{part.option} takes it" if part.option else ""
        return Stays(origin, found.bytes, f"is not needed: {part.spare}{asked}")
    return Move(origin, path, found.bytes, part)


def _place(move: Move, place: Staging) -> None:
    target = place.target / move.path
    if move.origin == target:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(move.origin, target, follow_symlinks=False)
    except FileExistsError:
        if not target.samefile(move.origin):
            raise WeightsRefused(f"{target} came to be meanwhile; run it again") from None
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        part = place.part(move.path)
        shutil.copyfile(move.origin, part, follow_symlinks=False)
        sync(part)
        part.rename(target)


def _sync_folders(target: Path, paths: Sequence[str]) -> None:
    folders = {target} | {parent for path in paths for parent in (target / path).parents if target in parent.parents}
    for folder in folders:
        sync(folder)


def _parts(todo: Plan, digests: Mapping[str, str]) -> Iterator[Part]:
    in_order = sorted(todo.moves, key=lambda move: (move.part.name, move.path))
    for _, group in groupby(in_order, key=lambda move: move.part.name):
        moves = list(group)
        files = [
            WeightsFile(path=move.path, bytes=move.bytes, sha256=digests[move.path], format=format_of(move.path))
            for move in moves
        ]
        part = moves[0].part
        source = part.source or f"not known: {part.name} of {todo.layout.model}"
        yield Part(source=source, revision="", licence=part.licence, files=files)


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Parts of one source, revision and licence as one."""
    merged: dict[tuple[str, str, str], Part] = {}
    for part in parts:
        key = (part.source, part.revision, part.licence)
        before = merged[key].files if key in merged else ()
        merged[key] = part.model_copy(update={"files": [*before, *part.files]})
    return list(merged.values())
