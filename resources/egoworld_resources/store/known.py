"""What the index says of some places, as the store says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, select

from egoworld_resources.artifacts.made import Made
from egoworld_resources.artifacts.manifest import Recipe
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.store.rows import AT_ONCE, DIGITS, Kind, Place, Truth, batches, clean
from egoworld_resources.store.tables import FAILURES, KINDS, MADE, NAMES, RECIPES, VIDEOS


def known(connection: Connection, kind: Kind, asset: str, videos: Sequence[str]) -> dict[Place, Truth]:
    """What it says of an asset of some videos, or of the videos themselves; a place without a row is left out."""
    found = dict[Place, Truth]()
    read = {"artifact": _made, "failure": _failures, "video": _videos}[kind]
    for some in batches(videos, AT_ONCE):
        found.update((Place(kind, asset, video), truth) for video, truth in read(connection, asset, some))
    return found


def _made(connection: Connection, asset: str, videos: Sequence[str]) -> Iterable[tuple[str, Truth]]:
    columns = (VIDEOS.c.key, MADE, KINDS.c.recipe, KINDS.c.shape, KINDS.c.quarantine, KINDS.c.checks, KINDS.c.damage)
    number = select(NAMES.c.id).where(NAMES.c.short == asset).scalar_subquery()
    asked = select(*columns).join(VIDEOS, VIDEOS.c.id == MADE.c.video).outerjoin(KINDS, KINDS.c.id == MADE.c.kind)
    some = select(VIDEOS.c.id).where(VIDEOS.c.key.in_(videos))  # so that no row of another video is looked at
    rows = connection.execute(asked.where(MADE.c.asset == number, MADE.c.video.in_(some))).mappings().all()
    lines = [numbers_in(row["line"]) for row in rows]
    wanted = {row[column] or 0 for row in rows for column in OF_KIND}
    names = texts(connection, wanted.union(*((line[1], *line[3:]) for line in lines)))
    recipes = {row["recipe"] for row in rows if row["recipe"]}
    asked = select(RECIPES.c.id, RECIPES.c.body).where(RECIPES.c.id.in_(recipes))
    bodies = {number: body for number, body in connection.execute(asked)}  # noqa: C416 rows are no pairs to dict()
    for row, (_, version, _, odd, *inputs) in zip(rows, lines, strict=True):
        recipe = recipe_in(bodies[row["recipe"]]) if row["recipe"] else None
        yield row["key"], artifact(asset, {**row, "version": version, "odd": odd}, inputs, names, recipe)


OF_KIND = ("shape", "quarantine", "checks", "damage")


def artifact(
    asset: str, row: Mapping[Any, Any], inputs: Sequence[int], names: Mapping[int, str], recipe: Recipe | None
) -> Truth:
    """What a row says. recipe: None for one that holds nothing, or is damaged."""
    if recipe is None:
        return DamagedArtifact(names[row["damage"]]) if row["damage"] else None
    used = {name: names[n] if n else None for name, n in zip(names[row["shape"]].split(","), inputs, strict=True)}
    return Made.model_construct(
        asset=asset,
        video=row["key"],
        data_version=names[row["version"]],
        fingerprint=names[row["odd"]] or fingerprint(recipe, used),
        inputs=used,
        recipe=recipe,
        quarantine=names[row["quarantine"]],
        checks=tuple(filter(None, names[row["checks"]].split(","))),
        rows={asset: row["rows"]},
        seconds=row["seconds"],
        bytes=row["bytes"],
        frames=row["frames"],
    )


def _failures(connection: Connection, asset: str, videos: Sequence[str]) -> Iterable[tuple[str, Truth]]:
    number = select(NAMES.c.id).where(NAMES.c.short == asset).scalar_subquery()
    asked = select(VIDEOS.c.key, FAILURES).join(VIDEOS, VIDEOS.c.id == FAILURES.c.video)
    rows = connection.execute(asked.where(FAILURES.c.asset == number, VIDEOS.c.key.in_(videos))).all()
    names = texts(connection, {row.reason for row in rows})
    return [(row.key, failure(row.fingerprint, names[row.reason], row.kind)) for row in rows]


def failure(fingerprint: str, reason: str, kind: str | None) -> dict[str, Any] | None:
    """A record of a failure as far as the index holds it."""
    found = {"fingerprint": fingerprint, "reason": reason, **({"kind": kind} if kind is not None else {})}
    return found if fingerprint else None


def _videos(connection: Connection, _asset: str, videos: Sequence[str]) -> Iterable[tuple[str, Truth]]:
    rows = connection.execute(select(VIDEOS).where(VIDEOS.c.key.in_(videos))).all()
    names = texts(connection, {number for row in rows for number in (row.source, row.damage)})
    return [(row.key, video(row, names)) for row in rows]


def video(row: Any, names: Mapping[int, str]) -> Truth:
    """The record of a video as far as the index holds it. row: of its table."""
    if row.damage:
        return DamagedArtifact(names[row.damage])
    if not row.source:
        return None
    return {"sha256": names[row.source], "name": row.name, "bytes": row.bytes, "arrived_at": row.arrived_at}


def same(kind: str, one: Truth, other: Truth) -> bool:
    """Whether two say the same, as far as the index holds it."""
    return _bare(kind, one) == _bare(kind, other)


def _bare(kind: str, truth: Truth) -> object:
    if isinstance(truth, DamagedArtifact):
        return None if kind == "failure" else clean(truth)
    if isinstance(truth, Made):
        return truth.model_copy(update={"quarantine": clean(truth.quarantine)})
    if truth is None:
        return None
    if kind == "failure":
        return failure(str(truth.get("fingerprint", "")), clean(truth.get("reason", "")), truth.get("kind"))
    facts = (clean(truth.get("sha256", "")), clean(truth.get("name", "")), int(truth.get("bytes", 0)))
    return (*facts, truth.get("arrived_at", ""))


def numbers_in(text: str) -> list[int]:
    """The numbers of a line."""
    return [int(text[at : at + DIGITS], 16) for at in range(0, len(text), DIGITS)]


def texts(connection: Connection, numbers: Iterable[int]) -> dict[int, str]:
    """The text of each number."""
    found = {0: ""}
    for some in batches(sorted(set(numbers) - {0}), AT_ONCE):
        for number, short, text in connection.execute(select(NAMES).where(NAMES.c.id.in_(some))).all():
            found[number] = short if text is None else text
    return found


@lru_cache(1024)
def recipe_in(body: str) -> Recipe:
    """A recipe of its JSON."""
    return Recipe.model_validate_json(body)
