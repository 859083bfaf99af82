"""The index: one table of what is made, so that a look at everything reads no manifest. The manifests stay the truth.

Before the store changes, a row says what is about to; after it the store is asked again, in one transaction that takes
that row away. So a kill at any step leaves either the row or nothing to do, and of two who write at once the later one
writes what the store says then. An index that is lost, damaged or of another layout is made again from the store.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy import Connection, Engine, NullPool, create_engine, delete, event, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from egoworld_resources.errors import DiskFull, IndexAway
from egoworld_resources.leases.locks import locked
from egoworld_resources.leases.processes import Identity
from egoworld_resources.store.noting import LAYOUT
from egoworld_resources.store.rows import Place, Source, truth_of, write
from egoworld_resources.store.tables import ABOUT, METADATA, PENDING

log = logging.getLogger(__name__)

WAIT_S = 60
LONG_S = 60.0
"""A row of a writer that lives is looked at again after this time: the database may have been away when it settled."""
FORGOTTEN_S = 86_400.0
"""A row of a writer on another machine, of which nothing is known, is dropped after this time."""
ONE_AT_A_TIME = 0x65676F77  # "egow": of Postgres' advisory locks
T = TypeVar("T")


class IndexDamaged(Exception):
    """The file of the index is not what we wrote; nobody sees this, it is made again."""


class Index:
    """The index of one store. file: of SQLite; url: of Postgres instead. Raises IndexAway wherever it is asked."""

    def __init__(self, file: Path | None = None, url: str = "", name: str = "") -> None:
        self.file = None if url else file
        self._url, self._name = url, name
        self._ready = False
        self._engine: Engine | None = None

    @contextmanager
    def changing(self, store: Source, place: Place) -> Iterator[None]:
        """What is done inside changes a place of the store: noted before, settled after."""
        self.prepare()
        with ExitStack() as held:
            connection, mark = self._noted_in(held, place)
            try:
                yield
            except BaseException:
                with suppress(Exception):  # if it cannot be settled now, the next look does it
                    self._settled(connection, store, place, mark)
                raise
            try:
                self._settled(connection, store, place, mark)
            except IndexDamaged:
                held.close()
                self.renew()  # what is made in its place will read what the store says by now

    def _noted_in(self, held: ExitStack, place: Place) -> tuple[Connection, int]:
        """Note what is about to change, in a file that is not replaced while ``held`` lasts; on which connection."""
        try:
            return self._noted(held, place)
        except IndexDamaged:
            held.close()
            self.renew()
            return self._noted(held, place)

    def settle_left(self, store: Source) -> None:
        """Look again at what writers were at when they were killed."""
        for row in self.ask(lambda connection: connection.execute(select(PENDING)).all()):
            writer = Identity.parse(row.writer)
            ended = writer is None or writer.ended
            long = row.since < time.time() - LONG_S
            if ended or long or not (writer and writer.here):
                known = ended or row.since < time.time() - FORGOTTEN_S
                place, marks = Place(row.kind, row.asset, row.video), [row.id] * known
                self._guarded(partial(self._settle, store, [place], marks))

    @property
    def complete(self) -> bool:
        """Whether it holds all that the store does."""
        return bool(self.ask(lambda connection: connection.execute(select(ABOUT.c.complete)).scalar()))

    @property
    def name(self) -> str:
        """Of this index among others of the same store."""
        return str(self.ask(lambda connection: connection.execute(select(ABOUT.c.name)).scalar()))

    def prepare(self) -> None:
        """Make the tables where there are none."""
        if not self._ready or (self.file and not self.file.is_file()):
            self._guarded(self._make_tables)
            self._ready = True

    def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question about the index as it is at one moment; of an empty one when it was damaged."""
        self.prepare()
        for _ in range(2):
            try:
                with _named(self), self._database().connect() as connection:
                    return question(connection)
            except IndexDamaged:
                self.renew()
        raise IndexAway(f"{self} is damaged again and again; check the disk: dmesg")

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """A transaction; no other writes meanwhile."""
        with ExitStack() as held, self._transaction(self._connected(held)) as connection:
            yield connection

    @contextmanager
    def _transaction(self, connection: Connection) -> Generator[Connection]:
        with _named(self), connection.begin():
            if not self.file:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
            yield connection

    def _connected(self, held: ExitStack) -> Connection:
        """A connection that writes, for as long as ``held`` lasts."""
        with _named(self):
            return held.enter_context(self._database().execution_options(writes=True).connect())

    def distrust(self) -> None:
        """It may hold what the store does not, as after a restore: it is made again before it answers."""
        self.prepare()
        with self.writing() as connection:
            connection.execute(update(ABOUT).values(complete=False, place=""))

    def renew(self) -> None:
        """Put an empty index into the place of a file that is damaged."""
        if self.file is None:
            raise IndexAway(f"{self} does not hold the tables of the index; `make up` makes them")
        with locked(self._lock):
            try:
                with self.writing() as connection:
                    check = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                    whole = set(METADATA.tables) <= set(inspect(connection).get_table_names())
                    if check == "ok" and whole and connection.execute(select(ABOUT.c.layout)).scalar() == LAYOUT:
                        return
            except (IndexDamaged, IndexAway):
                pass
            log.warning("%s is damaged and is made again from the store", self.file)
            for end in ("", "-wal", "-shm"):
                Path(f"{self.file}{end}").unlink(missing_ok=True)
            self.create()

    def __str__(self) -> str:
        return f"the index {self.file}" if self.file else "the index of the store in Postgres"

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with self._held():
                work()
        except IndexDamaged:
            self.renew()

    def _held(self) -> AbstractContextManager[object]:
        """While it lasts the file is not replaced."""
        if not self.file:
            return nullcontext()
        return locked(self._lock, shared=True)

    @property
    def _lock(self) -> Path:
        assert self.file is not None
        return self.file.with_name(f".{self.file.name}.lock")

    def _noted(self, held: ExitStack, place: Place) -> tuple[Connection, int]:
        held.enter_context(self._held())
        row = {**place._asdict(), "writer": str(Identity.mine()), "since": time.time()}
        with self._transaction(self._connected(held)) as connection:
            mark = int((connection.execute(PENDING.insert().values(row)).inserted_primary_key or (0,))[0])
        return connection, mark

    def _settled(self, connection: Connection, store: Source, place: Place, mark: int) -> None:
        """Settle on the connection on which it was noted, or on a new one where the database has been away since."""
        try:
            self._settle(store, [place], [mark], connection)
        except IndexAway:
            if not connection.invalidated:
                raise
            self._settle(store, [place], [mark])

    def _settle(
        self, store: Source, places: Iterable[Place], marks: Sequence[int], on: Connection | None = None
    ) -> None:
        """Write what the store says now, read while no other writes, and take marks away.

        On a connection that stays, SQLite does not wait for the disk here, as it did for the mark: what a power cut
        takes is the newest that was written, so the mark comes back, and the store, which is the truth, is asked again.
        """
        with ExitStack() as held:
            if on is not None and self.file:
                cast("sqlite3.Connection", on.connection.driver_connection).execute("PRAGMA synchronous = NORMAL")
            with self._transaction(on if on is not None else self._connected(held)) as connection:
                write(connection, [(place, truth_of(store, place)) for place in places])
                if marks:
                    connection.execute(delete(PENDING).where(PENDING.c.id.in_(marks)))

    def _make_tables(self) -> None:
        if self.file and not self.file.is_file():
            self.create()
            return
        with _named(self), self._database().connect() as connection:
            there = bool(self.file) or inspect(connection).has_table(ABOUT.name)
            layout = connection.execute(select(ABOUT.c.layout)).scalar() if there else None
        if layout == LAYOUT:
            return
        if self.file:
            raise IndexDamaged
        self.create()

    def create(self) -> None:
        """Tables of this layout, made by who has the right to; of another layout they are replaced."""
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.writing() as connection:
            there = inspect(connection).has_table(ABOUT.name)
            if there and connection.execute(select(ABOUT.c.layout)).scalar() == LAYOUT:
                return
            name = self._name or (connection.execute(select(ABOUT.c.name)).scalar() if there else None)
            METADATA.drop_all(connection)
            METADATA.create_all(connection)
            about = {"layout": LAYOUT, "name": name or _unique(), "complete": False, "place": ""}
            connection.execute(ABOUT.insert().values(about))

    def _database(self) -> Engine:
        if self._engine is None:
            self._engine = _sqlite(self.file) if self.file else _postgres(self._url)
        return self._engine


@contextmanager
def _named(index: Index) -> Iterator[None]:
    """Errors of the database as ours. Raises IndexDamaged, DiskFull, IndexAway."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig)
        if type(error.orig) is sqlite3.DatabaseError or said.startswith(("no such table", "no such column")):
            raise IndexDamaged from error
        if index.file and "disk is full" in said:
            raise DiskFull(f"no space left for {index}", index.file.parent) from error
        raise IndexAway(f"{index} cannot be used: {said.strip()}") from error


def _unique() -> str:
    """A name that no other index has."""
    return secrets.token_hex(8)


def _sqlite(file: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a row that is noted outlives a power cut
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction] SQLAlchemy calls it
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


def _postgres(url: str) -> Engine:
    driver = url.replace("postgresql:", "postgresql+psycopg2:", 1)
    return create_engine(driver, poolclass=NullPool, connect_args={"connect_timeout": 10}, hide_parameters=True)
