"""An audit database for tests, and a way around the class under test."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, create_engine, text

from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Began, Operations

ANN = Actor("ann", "http 127.0.0.1:5312")
PARTS = ("w1", "n1", "v1")


@dataclass(frozen=True)
class Database:
    """One database, and a way around the class under test."""

    url: str
    password: str = "none of SQLite"

    def engine(self) -> Engine:
        return create_engine(self.url.replace("postgresql:", "postgresql+psycopg2:"))

    def raw(self, *statements: str) -> list[tuple[object, ...]]:
        """Rows of the last statement, in a transaction of its own; raises the driver's errors."""
        engine = self.engine()
        try:
            with engine.begin() as connection:
                results = [connection.execute(text(statement)) for statement in statements]
                return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []
        finally:
            engine.dispose()


def url_of(at: PostgresAddress) -> str:
    return f"postgresql://{at.user}:{at.password}@{at.host}:{at.port}/{at.database}"


def told(at: PostgresAddress, statement: str) -> None:
    """A statement outside of any transaction, as databases are made and dropped."""
    connection = at.connect()
    connection.autocommit = True
    connection.cursor().execute(statement)
    connection.close()


def begun(operations: Operations, action: str = "create", parts: tuple[str, str, str] = PARTS) -> Began:
    return operations.begin(action, "_".join(parts), parts, ANN, {"packages": ["numpy>=2"]}, "sha256:before")
