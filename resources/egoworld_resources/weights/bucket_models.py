"""Whole models in the bucket of weights: each file once under its sha256, and a model's manifest when all are there.

<sha256>              the bytes of a file
models/<model>.json   its manifest, written last: what can be fetched is whole
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Lock

from egoworld_resources.disk import naming_a_full_disk
from egoworld_resources.s3.objects import BIG_AT_ONCE, PART, Objects, Transfer
from egoworld_resources.weights.errors import WeightsMissing, WeightsRefused
from egoworld_resources.weights.importing import signature_of
from egoworld_resources.weights.manifest import MODEL, ModelManifest, WeightsFile
from egoworld_resources.weights.repository import Model
from egoworld_resources.weights.staging import Staging, staging
from egoworld_resources.weights.verify import digest_of, verify

MODELS = "models/"
Progress = Callable[[int, int], None]
"""Gets how many bytes are there, and of how many."""


def key_of(model: str) -> str:
    """Key of a model's manifest."""
    return f"{MODELS}{model}.json"


def models_of(objects: Objects) -> list[str]:
    """Names of the models of a bucket."""
    found = [stored.key.removeprefix(MODELS).removesuffix(".json") for stored in objects.list(MODELS)]
    return sorted(name for name in found if MODEL.fullmatch(name))


def push_model(objects: Objects, model: Model, *, replace: bool, progress: Progress) -> str:
    """Upload a model; the key of its manifest, which is written when every file is there.

    What is there already is compared and not sent again. Raises WeightsRefused when the model is not whole, or when
    the bucket has another one of this name and it is not to be replaced; DamagedArtifact for a file with other bytes.
    """
    manifest = model.manifest
    if manifest is None:
        raise WeightsRefused(f"{model.name} cannot be pushed: {model.fault}")
    if manifest.model != model.name:
        raise WeightsRefused(f"{model.folder} holds the manifest of '{manifest.model}'; give the folder that name")
    lacking = [one for one in verify(model.folder, manifest, quick=True) if one.kind != "extra"]
    if lacking:
        raise WeightsRefused(f"{model.folder} is not what its manifest says:\n" + "\n".join(map(str, lacking)))
    key, text = key_of(model.name), manifest.text().encode()
    there = objects.get(key)
    if there is not None and there != text and not replace:
        raise WeightsRefused(f"{objects.url(key)} is another model of that name; --replace puts this one in its place")
    done = 0
    for group in _groups(list(manifest.files())):
        progress(done, manifest.bytes)
        objects.upload([Transfer(model.folder / f.path, f.sha256, f.bytes, f.sha256) for f in group])
        done += sum(file.bytes for file in group)
    if signature := signature_of(model.folder, manifest):
        objects.put(_signature_key(text), signature)
    objects.put(key, text)
    progress(done, manifest.bytes)
    return key


def fetch_model(objects: Objects, name: str, home: Path, progress: Progress, exceptions: Collection[str] = ()) -> Path:
    """Take a model in from the bucket; returns its folder, which is whole whenever it is there.

    What arrived stays when this ends early, and the next call goes on inside the file. exceptions: sha256 of pickles
    that are taken. Raises WeightsMissing naming what the bucket has, WeightsRefused naming each file that is missing,
    damaged or a pickle, DiskFull, LockBusy.
    """
    text = objects.get(key_of(name)) if MODEL.fullmatch(name) else None
    if text is None:
        known = ", ".join(models_of(objects)) or "none"
        raise WeightsMissing(
            f"{objects.url(MODELS)} has no model '{name}'; it has: {known}; egoworld weights push MODEL"
        )
    manifest = ModelManifest.parse(text, objects.url(key_of(name)))
    if manifest.model != name:
        raise WeightsRefused(
            f"{objects.url(key_of(name))} is the manifest of '{manifest.model}'; push that model again"
        )
    with staging(home, name, manifest.digest[:16], exceptions) as place:
        there = place.manifest_there()
        if there is None:
            return _Fetching(objects, manifest, place, progress).run()
        if there == manifest:
            place.clear()
            return place.target
    raise WeightsRefused(f"{place.target} is there already, with other files; move it away")


class _Fetching:
    """One model on its way in, several files at once."""

    def __init__(self, objects: Objects, manifest: ModelManifest, place: Staging, progress: Progress) -> None:
        self._objects, self._manifest, self._place, self._progress = objects, manifest, place, progress
        self._lock, self._here = Lock(), 0

    def run(self) -> Path:
        """Fetch what is missing and give the folder its name."""
        files, place = list(self._manifest.files()), self._place
        missing = [file for file in files if not place.has(file.path, file.bytes, file.sha256)]
        begun = sum(min(self._begun(file), file.bytes) for file in missing)
        left = sum(file.bytes for file in missing)
        place.need_space(left - begun)
        self._moved(self._manifest.bytes - left + begun)
        with naming_a_full_disk(place.files), ThreadPoolExecutor(BIG_AT_ONCE) as pool:
            faults = [fault for fault in pool.map(self._fetch, missing) if fault]
        if faults:
            bucket = self._objects.url("")
            raise WeightsRefused(
                f"{bucket} has not all of {self._manifest.model}; push it again:\n" + "\n".join(faults)
            )
        signature = self._objects.get(_signature_key(self._manifest.text().encode())) or b""
        return place.publish(self._manifest, signature)

    def _fetch(self, file: WeightsFile) -> str:
        """Why a file was not taken; empty when it was. A part that was begun with other bytes is fetched once more."""
        part, reason = self._place.part(file.path), ""
        for _ in range(2):
            if self._begun(file) > file.bytes:
                part.unlink()
            fresh = not part.exists()
            try:
                self._append(file, part)
            except FileNotFoundError:
                return f"missing: {file.path}: there is no {self._objects.url(file.sha256)}"
            found = digest_of(part)
            if found == file.sha256:
                self._place.keep(part, file.path)
                return ""
            part.unlink()
            reason = f"damaged: {file.path}: {self._objects.url(file.sha256)} has sha256 {found}"
            if fresh:
                break
        return reason

    def _append(self, file: WeightsFile, part: Path) -> None:
        with part.open("ab", buffering=0) as out:
            while (start := out.tell()) < file.bytes:
                piece = self._objects.get_part(file.sha256, start, min(PART, file.bytes - start))
                out.write(piece)
                self._moved(len(piece))

    def _begun(self, file: WeightsFile) -> int:
        part = self._place.part(file.path)
        return part.stat().st_size if part.is_file() else 0

    def _moved(self, count: int) -> None:
        with self._lock:
            self._here += count
            self._progress(min(self._here, self._manifest.bytes), self._manifest.bytes)


def _signature_key(manifest: bytes) -> str:
    return f"signatures/{sha256(manifest).hexdigest()}"


def _groups(files: Sequence[WeightsFile]) -> Iterator[list[WeightsFile]]:
    """Small files together, each big one alone: its parts go at once."""
    small = [file for file in files if file.bytes <= PART]
    if small:
        yield small
    yield from ([file] for file in files if file.bytes > PART)
