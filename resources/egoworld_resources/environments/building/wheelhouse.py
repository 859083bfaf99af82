"""Installing from a folder of wheels instead of the network: locks whose addresses are paths, with the same digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.locking.lockfile import Lock, built_from
from egoworld_resources.environments.locking.resolve import write_lock
from egoworld_resources.environments.locking.wheels import wheel_name


def localized(entries: list[dict[str, Any]], wheels: Path, prefix: str) -> list[dict[str, Any]]:
    """The packages of a lock with the files that are in ``wheels`` as paths ``<prefix>/<name>``; hashes stay.

    A package that has no file there keeps its addresses, so that errors can still name its origin.
    """
    return [_localized(entry, wheels, prefix) for entry in entries]


@contextmanager
def lock_here(lock: Lock, wheels: Path | None, built: Mapping[str, Path]) -> Iterator[Path]:
    """The file to install ``lock`` from: itself, or a copy with paths into the folder ``wheels``.

    built: wheels by the names of the packages that the lock has as sdists. uv checks the hashes of the lock against
    these files too. A copy is gone afterwards.
    """
    if wheels is None and not built:
        yield lock.path
        return
    with TemporaryDirectory(prefix="egoworld-lock-") as folder:
        copy = Path(folder) / lock.path.name
        entries = [_built(entry, built) or _absolute(entry, lock.path.parent) for entry in lock.entries]
        if wheels is not None:
            entries = localized(entries, wheels, str(wheels))
        yield write_local(lock, copy, entries)


def write_local(lock: Lock, target: Path, entries: list[dict[str, Any]]) -> Path:
    """``lock`` with other addresses of its files."""
    made_by = f"a copy of {lock.path.name}"
    return write_lock(target, entries, made_by=made_by, python=lock.requires_python, source=lock.source or "")


def _built(entry: dict[str, Any], built: Mapping[str, Path]) -> dict[str, Any] | None:
    wheel = built.get(entry["name"])
    if wheel is None or "sdist" not in entry:
        return None
    kept = {key: value for key, value in entry.items() if key not in ("sdist", "index")}
    return {**kept, "wheels": [{"path": str(wheel), "hashes": {"sha256": file_digest(wheel)}}]}


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A package that was built is stored next to its lock."""
    if not built_from(entry):
        return entry
    return {**entry, "wheels": [{**file, "path": str(folder / file["path"])} for file in entry["wheels"]]}


def _localized(entry: dict[str, Any], wheels: Path, prefix: str) -> dict[str, Any]:
    kept = {key: value for key, value in entry.items() if key not in ("wheels", "sdist", "index")}
    listed = cast("list[dict[str, Any]]", entry.get("wheels", []))
    here = [_as_path(file, prefix) for file in listed if (wheels / wheel_name(file)).is_file()]
    if here:
        return {**kept, "wheels": here}
    sdist = cast("dict[str, Any] | None", entry.get("sdist"))
    if sdist and (wheels / wheel_name(sdist)).is_file():
        return {**kept, "sdist": _as_path(sdist, prefix)}
    return entry


def _as_path(file: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {"path": f"{prefix}/{wheel_name(file)}", "hashes": file["hashes"]}
