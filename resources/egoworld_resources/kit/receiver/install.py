"""Installing a kit: signature, then every byte, then its contents; complete, or marked as unfinished.

<to>/                       the checkout, as from git: Makefile, envs/, locks/, ...
<to>/data/kit/files/        the verified files of the kit; wheels/ of it is where model envs are installed from
<to>/data/kit/kit.json      manifest of the kit that is installed whole, with kit.sig.json
<to>/data/kit/installing    there while an installation is not finished: the manifest of that kit
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.errors import LockBusy
from egoworld_resources.kit.receiver.checkout import changed_here, lay_out, refuse_changes
from egoworld_resources.kit.receiver.manifest import MANIFEST, SIGNATURE, KitManifest, parse
from egoworld_resources.kit.receiver.opening import open_kit
from egoworld_resources.kit.receiver.programs import Setup
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.kit.receiver.signature import check, wanted_fingerprint
from egoworld_resources.kit.receiver.taking import Store, take
from egoworld_resources.leases.locks import locked

KIT = Path("data") / "kit"
TRUSTED = "key.txt"
INSTALLING = "installing"
READY = (Path(".venv/.ready"), Path(".tools/.ready"))


@dataclass(frozen=True)
class Wish:
    """key: fingerprint or file, "" for the key of the kit before; python: None for the kit's interpreter.

    overwrite: also project files that people changed; older: also a kit made before the one that is installed.
    """

    kit: Path
    to: Path
    key: str = ""
    python: Path | None = None
    demo: bool = True
    overwrite: bool = False
    older: bool = False


def install(wish: Wish, say: Callable[[str], None]) -> KitManifest:
    """Install or renew ``wish.to``; raises KitRefused or DiskFull, naming the file and what to do."""
    target = wish.to.absolute()
    place = target / KIT
    wanted = _wanted(wish, place)
    source = open_kit(wish.kit.absolute())
    content, signed = source.head()
    check(content, signed, wanted, str(wish.kit))
    manifest = parse(content, str(wish.kit / MANIFEST if wish.kit.is_dir() else wish.kit))
    say(f"signed by {wanted}; {len(manifest.files)} files to verify")
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        before = [found for found in (installed(target), _read(place / INSTALLING)) if found]
        if not wish.older:
            _refuse_older(manifest, before)
        if not wish.overwrite:
            refuse_changes(changed_here(target, manifest, before))
        store = Store(place / "files")
        take(source, manifest, store, say)
        say("every file is as it was signed; installing")
        setup = Setup(target, store, manifest, wish.python, say)
        _write(place / INSTALLING, content)
        _set_up(setup, before)
        store.keep_only(manifest)
        _write(place / SIGNATURE, signed)
        _write(place / MANIFEST, content)
        _write(place / TRUSTED, f"{wanted}\n".encode())
        (place / INSTALLING).unlink()
    say(f"installed in {target}")
    if manifest.profile:
        line = f'env_profile = "{manifest.profile}"'
        say(f"the envs are those of a profile; that it stays so, write into egoworld.toml: {line}")
    if wish.demo and manifest.demo:
        setup.demo()
    elif wish.demo:
        say("no demo: the kit does not hold every env that the demo runs")
    return manifest


def installed(target: Path) -> KitManifest | None:
    """Manifest of the kit that was installed whole last; None when there is none."""
    return _read(target / KIT / MANIFEST)


def _read(file: Path) -> KitManifest | None:
    return parse(file.read_bytes(), str(file)) if file.is_file() else None


def _set_up(setup: Setup, before: list[KitManifest]) -> None:
    for ready in READY:
        (setup.target / ready).unlink(missing_ok=True)
    lay_out(setup.target, setup.store, setup.manifest, before)
    python = setup.interpreter()
    uv = setup.uv()
    setup.say("making our own interpreter ...")
    setup.own_interpreter(uv, python)
    setup.place("weights", "weights/", setup.target / "models")
    setup.place("conda", "conda/archives/", setup.cache.with_name(f"{setup.cache.name}-conda") / "archives")
    setup.envs()
    setup.server()
    for ready in reversed(READY):  # make looks at times: uv first, then what rests on it
        (setup.target / ready).touch()


def _refuse_older(manifest: KitManifest, before: list[KitManifest]) -> None:
    """An old kit has a valid signature too, and the faults that were fixed since."""
    newest = max((found.created for found in before), default="")
    if manifest.created < newest:
        raise KitRefused(
            f"the kit was made {manifest.created}, what is installed {newest}; to go back on purpose, add --older"
        )


def _wanted(wish: Wish, place: Path) -> str:
    if wish.key:
        return wanted_fingerprint(wish.key)
    if (place / TRUSTED).is_file():
        return wanted_fingerprint(str(place / TRUSTED))
    raise KitRefused(
        "whose kit is it? Give --key the fingerprint (SHA256:...) that its maker gave you by another channel "
        "than the kit came"
    )


@contextmanager
def _alone(place: Path) -> Generator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(place / ".lock", 0))
        except LockBusy as error:
            raise KitRefused(f"another process installs into {place.parents[1]} now; wait for it") from error
        yield


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.part")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
