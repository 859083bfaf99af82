"""Making a kit of a checkout, or of what changed in it since an earlier kit."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.kit.bootstrap import INTERPRETER, bootstrap_pieces
from egoworld_resources.kit.interpreter import PYTHON, make_interpreter
from egoworld_resources.kit.keys import fingerprint_of, read_key, sign
from egoworld_resources.kit.pieces import (
    Piece,
    conda_pieces,
    licence_piece,
    lock_pieces,
    needed_wheels,
    piece,
    source_pieces,
    version_of,
    weights_pieces,
    wheel_pieces,
)
from egoworld_resources.kit.receiver.manifest import KINDS, MANIFEST, KitManifest, digest_of, parse
from egoworld_resources.kit.receiver.opening import open_kit
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.kit.server import server_pieces
from egoworld_resources.kit.tools import tool_wheel
from egoworld_resources.kit.writing import check_target, write
from egoworld_resources.server.tools import Tools

HEAD = ("installer",)
"""Kinds that every kit ships, also one of changes: they are what it is begun with."""


@dataclass(frozen=True)
class Order:
    """What is to be made. fetched: folder where files of locks are kept for the next kit.

    envs: names, all of the project when empty; demo: envs that `make demo` runs; weights: the model home whose weights
    are shipped, None for their list alone; server: where programs of the server are, None to leave them out;
    previous: an earlier kit, its manifest, or an installation's, for a delta.
    """

    project: Path
    target: Path
    key: Path
    fetched: Path
    envs: Sequence[str] = ()
    demo: frozenset[str] = frozenset()
    dev: bool = False
    server: Tools | None = None
    profile: str = ""
    interpreter: bool = True
    weights: Path | None = None
    conda_locks: Sequence[Path] = ()
    previous: Path | None = None


@dataclass(frozen=True)
class Made:
    """A kit that was written. installer: sha256 of install.sh; sizes: bytes that it ships, by kind."""

    target: Path
    bytes: int
    fingerprint: str
    installer: str
    manifest: KitManifest
    shipped: int
    sizes: dict[str, int] = field(default_factory=dict[str, int])


def make(order: Order, catalog: Catalog, uv: Uv, say: Callable[[str], None]) -> Made:
    """Gather, sign and write a kit. Raises KitRefused, BadConfiguration, IndexUnreachable, LockMissing, LockStale."""
    key = read_key(order.key)
    check_target(order.target)
    before = _manifest_of(order.previous) if order.previous else None
    order.fetched.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".kit-", dir=order.fetched) as folder:
        pieces, facts = _gather(order, catalog, uv, Path(folder), say)
        manifest = replace(facts, previous=digest_of(before) if before else "")
        content = manifest.to_bytes()
        parse(content, MANIFEST)
        had = {(file.path, file.sha256) for file in parse(before, str(order.previous)).files} if before else set()
        shipped = [one for one in pieces if one.file.kind in HEAD or (one.file.path, one.file.sha256) not in had]
        say(f"writing {order.target} ...")
        written = write(order.target, content, sign(key, content), shipped)
    sizes = {kind: sum(one.file.bytes for one in shipped if one.file.kind == kind) for kind in KINDS}
    installer = next(one.file.sha256 for one in pieces if one.file.path == "install.sh")
    return Made(order.target, written, fingerprint_of(key), installer, manifest, len(shipped), sizes)


def _gather(
    order: Order, catalog: Catalog, uv: Uv, work: Path, say: Callable[[str], None]
) -> tuple[list[Piece], KitManifest]:
    project, locks = order.project, order.project / "locks"
    policy = Policy.read(project / "envs" / "policy.toml", order.profile)
    envs = _chosen(order, catalog)
    files = needed_wheels(catalog, project, envs, policy, PYTHON, order.fetched, dev=order.dev)
    say(f"{len(files)} wheels for {', '.join([BASE, *envs])} ...")
    wheels = wheel_pieces(files, order.fetched)
    tool = tool_wheel(locks / "uv.txt", uv, order.fetched)
    pieces = [*wheels, piece(f"uv/{tool.name}", "uv", tool), *_own_wheels(order, uv, work)]
    lock = Lock.read(BASE, locks / f"pylock.{'dev' if order.dev else BASE}.toml")
    (work / "wheels").mkdir()
    for one in wheels:
        (work / one.file.path).touch()
    pieces += lock_pieces([lock], work / "wheels", work)
    interpreter = _interpreter(order, uv, work, say)
    pieces += [*source_pieces(project, tests=order.dev), *weights_pieces(catalog, envs, order.weights)]
    pieces += conda_pieces(order.conda_locks, order.fetched)
    if order.server:
        say("the programs of the server ...")
        pieces += server_pieces(project, uv, order.fetched, order.server)
    first = [*bootstrap_pieces(interpreter), *([interpreter] if interpreter else [])]  # near the beginning of a tar
    pieces = [*first, *pieces, licence_piece(catalog, envs, pieces)]
    version, commit = version_of(project)
    facts = KitManifest(
        version=version,
        commit=commit,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        python=PYTHON,
        base=f"locks/{lock.path.name}",
        profile=order.profile,
        envs=tuple(envs),
        demo=bool(order.demo) and order.demo <= {*envs, BASE},
        previous="",
        files=tuple(one.file for one in pieces),
    )
    return pieces, facts


def _chosen(order: Order, catalog: Catalog) -> list[str]:
    """The requested envs that have an interpreter of their own; those of the tests go with the tools."""
    own = order.project / "envs"
    known = [name for name in catalog.names if order.dev or catalog.env(name).folder.parent == own]
    return [name for name in order.envs or known if catalog.env(name).runs_in != BASE]


def _own_wheels(order: Order, uv: Uv, work: Path) -> list[Piece]:
    """egoworld and egoworld_runner as wheels, for a machine where they are wanted outside a checkout."""
    out = work / "own"
    for folder in (order.project, order.project / "envs" / "runner"):
        command = ["build", "--wheel", "--quiet", "--no-index", "--find-links", order.fetched, "--out-dir", out, folder]
        uv.run(command, folder, what=f"building the wheel of {folder}")
    return [piece(f"own/{wheel.name}", "own wheel", wheel) for wheel in sorted(out.glob("*.whl"))]


def _interpreter(order: Order, uv: Uv, work: Path, say: Callable[[str], None]) -> Piece | None:
    if not order.interpreter:
        return None
    say("making the interpreter of Debian's packages ...")
    folder = work / "interpreter"
    folder.mkdir()
    made = make_interpreter(folder, tool_wheel(order.project / "locks" / "kit.txt", uv, order.fetched))
    one = piece(INTERPRETER, "interpreter", made.archive, origin="; ".join(made.packages))
    return replace(one, file=replace(one.file, unpacked=made.unpacked, licence="PSF-2.0"))


def _manifest_of(kit: Path) -> bytes:
    """Of a kit, of an installation, or the file itself; unchecked, since it is only compared with."""
    for file in (kit, kit / MANIFEST, kit / "data" / "kit" / MANIFEST):
        if file.is_file() and file.suffix == ".json":
            return file.read_bytes()
    if not kit.exists():
        raise KitRefused(f"{kit} does not exist; name the earlier kit, its {MANIFEST}, or what was installed from it")
    return open_kit(kit).head()[0]
