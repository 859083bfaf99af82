"""Making an index from the store, and holding the one that there is against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from sqlalchemy import Table, delete, select, update

from egoworld_resources.store.index import Index
from egoworld_resources.store.known import known, same
from egoworld_resources.store.noting import INDEXES
from egoworld_resources.store.protocol import Inspected
from egoworld_resources.store.rows import Kind, Place, Truth, batches, truth_of, write
from egoworld_resources.store.tables import ABOUT, FAILURES, MADE, NAMES, VIDEOS

AT_A_TIME = 200
TABLES: dict[Kind, Table] = {"artifact": MADE, "failure": FAILURES}


def reindex(index: Index, store: Inspected) -> Iterator[str]:
    """Compare every row with the store, and make it what the store says; yields what differed."""
    whole = index.complete
    distrust(index, store)
    for _, found in _steps(index, store, whole):
        yield from found


def distrust(index: Index, store: Inspected) -> None:
    """Have the index made again before it answers, from now on as the only one of its store."""
    index.distrust()
    for name in store.keys(INDEXES):
        if name != index.name:
            store.record(INDEXES, name, None)


def catch_up(index: Index, store: Inspected, late: Callable[[], bool] = lambda: False) -> bool:
    """Go on making an index that is not complete, until it is or it is late; whether it is complete."""
    if index.complete:
        return True
    for last, _ in _steps(index, store):
        if last or late():
            return last
    return True


def _steps(index: Index, store: Inspected, whole: bool = False) -> Iterator[tuple[bool, list[str]]]:
    """Bring some places after others up to date; of each step whether it was the last, and what differed.

    whole: a row that is not there differs too.

    A store that is read ahead may be out of date. So what it says is only written where there is no row yet; where
    there is another one the store itself is asked, while nobody writes.
    """
    bulk = store.bulk_view()
    after = tuple(index.ask(lambda connection: str(connection.execute(select(ABOUT.c.place)).scalar())).split("/"))
    failures = by_asset(store.keys("failures"))
    for kind, asset in sections(index, store, failures):
        found = {"artifact": store.videos, "failure": lambda name: failures.get(name, [])}
        listed = found[kind](asset) if kind in found else store.keys("videos")
        every = sorted({*listed, *rows_of(index, kind, asset)})
        for videos in batches([video for video in every if (kind, asset, video) > after], AT_A_TIME):
            truths = [(place, truth_of(bulk, place)) for place in (Place(kind, asset, video) for video in videos)]
            yield False, _compared(index, store, truths, whole)
    with index.writing() as connection:
        connection.execute(delete(MADE).where(MADE.c.kind == 0))
        connection.execute(delete(FAILURES).where(FAILURES.c.fingerprint == ""))
        connection.execute(update(ABOUT).values(complete=True, place=""))
    yield True, []


def _compared(index: Index, store: Inspected, truths: Sequence[tuple[Place, Truth]], whole: bool) -> list[str]:
    """Bring the rows of an asset up to date; which differed. truths: what the store said a while ago."""
    differed: list[str] = []
    last = truths[-1][0]
    with index.writing() as connection:
        there = known(connection, last.kind, last.asset, [place.video for place, _ in truths])
        absent = [(place, truth) for place, truth in truths if place not in there and truth is not None]
        write(connection, absent)
        differed += [named(place) for place, _ in absent] if whole else []
        for place, truth in truths:
            if place in there and not same(place.kind, there[place], truth):
                now = truth_of(store, place)
                if not same(place.kind, there[place], now):
                    write(connection, [(place, now)])
                    differed.append(named(place))
        connection.execute(update(ABOUT).values(place="/".join(last)))
    return differed


def sections(index: Index, store: Inspected, failures: Iterable[str]) -> list[tuple[Kind, str]]:
    """What is gone through, in order: artifacts and failures of each asset, then the videos."""
    assets: dict[Kind, set[str]] = {"artifact": set(store.assets()), "failure": set(failures), "video": {""}}
    for kind, table in TABLES.items():
        asked = select(NAMES.c.short).join(table, table.c.asset == NAMES.c.id).distinct()
        assets[kind].update(index.ask(lambda connection, asked=asked: connection.execute(asked).scalars().all()))
    return sorted((kind, asset) for kind, names in assets.items() for asset in names)


def rows_of(index: Index, kind: Kind, asset: str) -> Sequence[str]:
    """Videos of which the index has a row."""
    asked = select(VIDEOS.c.key)
    if kind in TABLES:
        table = TABLES[kind]
        number = select(NAMES.c.id).where(NAMES.c.short == asset).scalar_subquery()
        asked = asked.join(table, table.c.video == VIDEOS.c.id).where(table.c.asset == number)
    return index.ask(lambda connection: connection.execute(asked).scalars().all())


def named(place: Place) -> str:
    """A place in words."""
    return "/".join(part for part in place if part)


def by_asset(keys: Iterable[str]) -> dict[str, list[str]]:
    """Videos by asset, of keys <asset>/<video>."""
    found: dict[str, list[str]] = {}
    for asset, _, video in (key.partition("/") for key in keys):
        if video:
            found.setdefault(asset, []).append(video)
    return found
