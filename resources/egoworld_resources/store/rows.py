"""Rows of the index from what the store says, and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Table, delete, select

from egoworld_resources.artifacts.made import Made
from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.store.tables import ABOUT, FAILURES, KINDS, MADE, NAMES, RECIPES, VIDEOS, insert

AT_ONCE = 400
DIGITS = 8
"""Of a number in the line of a row."""
NOTHING = {"kind": 0, "numbers": (0, 0), "rows": 0, "seconds": 0.0, "bytes": 0, "frames": 0}
T = TypeVar("T")
Kind = Literal["artifact", "failure", "video"]


class Place(NamedTuple):
    """What one row is about. asset: empty for a video."""

    kind: Kind
    asset: str
    video: str


class Source(Protocol):
    """What the index is made of."""

    def current(self, asset: str, video: str) -> Manifest | None: ...
    def recorded(self, kind: str, key: str) -> dict[str, Any] | None: ...


Truth = Made | dict[str, Any] | DamagedArtifact | None


def truth_of(store: Source, place: Place) -> Truth:
    """What the store says of a place now; a damaged one is its error."""
    try:
        if place.kind == "artifact":
            made = store.current(place.asset, place.video)
            return Made.of(made) if made else None
        if place.kind == "video":
            return store.recorded("videos", place.video)
        return store.recorded("failures", f"{place.asset}/{place.video}")
    except DamagedArtifact as error:
        return error


def write(connection: Connection, truths: Sequence[tuple[Place, Truth]]) -> None:
    """Make the rows of some places what the store says, in the transaction of the connection.

    While the index is being made, what is gone keeps an empty row: it tells that from what was not looked at yet.
    """
    complete = bool(connection.execute(select(ABOUT.c.complete)).scalar())
    texts = {text for place, truth in truths for text in texts_in(place, truth)}
    names = numbers(connection, texts)
    videos = video_numbers(connection, {place.video for place, _ in truths})
    kinds = _Kinds(connection, names)
    rows: dict[str, list[dict[str, Any]]] = {"artifact": [], "failure": [], "video": []}
    for place, truth in truths:
        if place.kind == "video":
            rows["video"].append(_video_row(place, truth, videos, names))
            continue
        key = {"asset": names[place.asset], "video": videos[place.video]}
        if truth is None or (place.kind == "failure" and isinstance(truth, DamagedArtifact)):
            if complete:
                table = MADE if place.kind == "artifact" else FAILURES
                connection.execute(delete(table).where(table.c.asset == key["asset"], table.c.video == key["video"]))
            else:
                empty = NOTHING if place.kind == "artifact" else {"fingerprint": "", "reason": 0, "kind": None}
                rows[place.kind].append({**key, **empty})
        elif isinstance(truth, Made):
            rows["artifact"].append({**key, **_made_row(truth, names, kinds.of(truth))})
        elif isinstance(truth, DamagedArtifact):
            rows["artifact"].append({**key, **NOTHING, "kind": kinds.damaged(str(truth))})
        else:
            facts = {"fingerprint": str(truth.get("fingerprint", "")), "reason": names[clean(truth.get("reason", ""))]}
            rows["failure"].append({**key, **facts, "kind": truth.get("kind")})
    rows["artifact"] = [lined(row) for row in rows["artifact"]]
    for kind, table in (("artifact", MADE), ("failure", FAILURES), ("video", VIDEOS)):
        upsert(connection, table, rows[kind])


def lined(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of what is made with its line in place of its numbers, see tables.py."""
    version, odd, *inputs = row["numbers"]
    line = "".join(f"{number:0{DIGITS}x}" for number in (row["video"], version, row["kind"], odd, *inputs))
    return {**{name: value for name, value in row.items() if name != "numbers"}, "line": line}


def texts_in(place: Place, truth: Truth) -> Iterator[str]:
    """Texts of which a row holds the numbers."""
    yield place.asset
    if isinstance(truth, Made):
        yield from (truth.data_version, *(version for version in truth.inputs.values() if version))
        yield from (shape_of(truth), clean(truth.quarantine), ",".join(truth.checks))
        yield odd_print(truth)
    elif isinstance(truth, DamagedArtifact):
        yield clean(truth)
    elif truth is not None:
        yield clean(truth.get("sha256" if place.kind == "video" else "reason", ""))


def shape_of(made: Made) -> str:
    """Names of the inputs, in the order in which their versions stand."""
    return ",".join(sorted(made.inputs))


def odd_print(made: Made) -> str:
    """The fingerprint where it is not that of recipe and inputs, as of an artifact of an earlier version of ours."""
    return "" if fingerprint(made.recipe, made.inputs) == made.fingerprint else made.fingerprint


def clean(text: object) -> str:
    """A text that every database takes."""
    return str(text).replace("\0", "\ufffd")


def _made_row(made: Made, names: Mapping[str, int], kind: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "numbers": (
            names[made.data_version],
            names[odd_print(made)],
            *(names[made.inputs[name] or ""] for name in sorted(made.inputs)),
        ),
        "rows": sum(made.rows.values()),
        "seconds": made.seconds,
        "bytes": made.bytes,
        "frames": made.frames,
    }


def _video_row(place: Place, truth: Truth, videos: Mapping[str, int], names: Mapping[str, int]) -> dict[str, Any]:
    row = {"id": videos[place.video], "key": place.video, "source": 0, "name": "", "bytes": 0, "arrived_at": ""}
    if isinstance(truth, dict):
        facts = {"name": clean(truth.get("name", "")), "bytes": int(truth.get("bytes", 0))}
        row |= {"source": names[clean(truth.get("sha256", ""))], **facts, "arrived_at": truth.get("arrived_at", "")}
    return {**row, "damage": names[clean(truth)] if isinstance(truth, DamagedArtifact) else 0}


class _Kinds:
    """Numbers of what artifacts have in common, each asked for once."""

    def __init__(self, connection: Connection, names: Mapping[str, int]) -> None:
        self._connection, self._names = connection, names
        self._known: dict[tuple[int, ...], int] = {}

    def of(self, made: Made) -> int:
        names = self._names
        shape, quarantine, checks = shape_of(made), clean(made.quarantine), ",".join(made.checks)
        return self._number(self._recipe(made.recipe), names[shape], names[quarantine], names[checks], 0)

    def damaged(self, why: str) -> int:
        return self._number(0, 0, 0, 0, self._names[clean(why)])

    def _recipe(self, recipe: Recipe) -> int:
        body = recipe.model_dump_json()
        digest = sha256(body.encode()).hexdigest()
        asked = select(RECIPES.c.id).where(RECIPES.c.digest == digest)
        return self._found(asked, RECIPES, {"digest": digest, "body": body}, (int(digest[:15], 16),))

    def _number(self, *values: int) -> int:
        columns = ("recipe", "shape", "quarantine", "checks", "damage")
        row: dict[str, Any] = dict(zip(columns, values, strict=True))
        return self._found(select(KINDS.c.id).where(*(KINDS.c[c] == v for c, v in row.items())), KINDS, row, values)

    def _found(self, asked: Any, table: Table, row: Mapping[str, Any], key: tuple[int, ...]) -> int:
        if key not in self._known:
            found = self._connection.execute(asked).scalar()
            if found is None:
                self._connection.execute(insert(self._connection, table).values(row).on_conflict_do_nothing())
                found = self._connection.execute(asked).scalar_one()
            self._known[key] = int(found)
        return self._known[key]


def numbers(connection: Connection, texts: Iterable[str]) -> dict[str, int]:
    """The number of each text, a new one where it has none; that of the empty text is 0."""
    wanted = {short(text): text for text in texts if text}
    found = dict[str, int]()
    for missing in (False, True):
        left = [one for one in wanted if one not in found]
        if missing and left:
            rows = [{"short": one, "text": None if one == wanted[one] else wanted[one]} for one in sorted(left)]
            connection.execute(insert(connection, NAMES).on_conflict_do_nothing(), rows)
        for some in batches(left, AT_ONCE):
            asked = select(NAMES.c.short, NAMES.c.id).where(NAMES.c.short.in_(some))
            found.update((one, number) for one, number in connection.execute(asked))
    return {"": 0, **{wanted[one]: number for one, number in found.items()}}


def short(text: str) -> str:
    """What a text is found by: itself, or the digest of a long one, which begins as no short one does."""
    if len(text) <= 64 and not text.startswith("#"):
        return text
    return "#" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def video_numbers(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """The number of each video, a new one where it has none."""
    found = dict[str, int]()
    wanted = sorted(set(keys))
    for missing in (False, True):
        left = [key for key in wanted if key not in found]
        if missing and left:
            unknown = {"source": 0, "name": "", "bytes": 0, "arrived_at": "", "damage": 0}
            connection.execute(
                insert(connection, VIDEOS).on_conflict_do_nothing(), [{"key": key, **unknown} for key in left]
            )
        for some in batches(left, AT_ONCE):
            asked = select(VIDEOS.c.key, VIDEOS.c.id).where(VIDEOS.c.key.in_(some))
            found.update((key, number) for key, number in connection.execute(asked))
    return found


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows over those of the same key."""
    if rows:
        statement = insert(connection, table)
        others = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others), rows)


def batches(items: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    """At most ``count`` at a time."""
    return (items[start : start + count] for start in range(0, len(items), count))
