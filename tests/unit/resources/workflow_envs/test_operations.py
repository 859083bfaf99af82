"""What the audit makes of a URL, of a fault and of text, before any database is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.programs.redaction import learn, redacted
from egoworld_resources.workflow_envs.audit import Operations
from egoworld_resources.workflow_envs.audit.database import Address
from egoworld_resources.workflow_envs.audit.entries import LONGEST_TEXT, plain
from egoworld_resources.workflow_envs.audit.faults import audit_failed
from egoworld_resources.workflow_envs.errors import AuditFailed


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgres_is_named_in_three_ways(scheme: str) -> None:
    at = Address.of(f"{scheme}://ann:geh%40im@db.example:5433/audit?sslmode=require&password=asked%20for")
    assert at.url.drivername == "postgresql+psycopg2"
    assert at.shown == "postgresql://ann:***@db.example:5433/audit"
    assert redacted("geh@im geh%40im asked for asked%20for") == "*** *** *** ***"
    assert at.file is None


def test_a_file_is_the_same_from_anywhere(tmp_path: Path) -> None:
    assert Address.of(f"sqlite:///{tmp_path}/audit.db").file == tmp_path / "audit.db"
    with pytest.raises(AuditFailed, match="below whatever folder a command starts in"):
        Address.of("sqlite:///audit.db")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:geheim@wort@host/db",
        "postgresql://ann:geheim@wo/rt@host/db",
        "postgresql://ann:geheim@wo:rt@host/db",
        "mysql://ann:geheim@host/db",
        "postgresql+asyncpg://ann:geheim@host/db",
        "geheim",
        "",
        "postgresql://ann:geheim@host:port/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:audit.db?mode=memory&uri=true&geheim=1",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(AuditFailed, match=r"DATABASE_URL .* expected is postgresql://user:password@host") as refused:
        Operations(url)
    assert "geheim" not in str(refused.value)
    assert "rt@" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_making_one_asks_nothing(tmp_path: Path) -> None:
    operations = Operations(f"sqlite:///{tmp_path}/deep/audit.db")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AuditFailed, match="cannot be opened; restore the file, or start the service"):
        operations.history()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_text("Dear diary, " * 1000)
    with pytest.raises(AuditFailed, match="is damaged; restore it from a backup"):
        Operations(f"sqlite:///{tmp_path}/audit.db").init()


def test_a_folder_where_nothing_can_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuditFailed, match=r"file/audit.db failed; see its own log.*File exists"):
        Operations(f"sqlite:///{tmp_path}/file/audit.db").init()


def test_a_password_that_a_driver_repeats_is_struck_out() -> None:
    learn("geheim", "geh eim")
    fault = OSError("connection to ann:geheim@host and ann:geh%20eim@host failed")
    message = str(audit_failed("postgresql://ann@host/db", fault))
    assert "geh" not in message
    assert "ann:***@host and ann:***@host" in message
    assert "does not answer; start it, or correct DATABASE_URL" in message


def test_an_unknown_fault_is_reported_in_its_own_words() -> None:
    assert str(audit_failed("x", OSError("the roof\n  fell in"))).endswith("(the roof fell in)")
    assert str(audit_failed("x", OSError())).endswith("(OSError)")


def test_text_is_kept_unless_no_database_takes_it() -> None:
    assert plain("naïve ✓\n\t") == "naïve ✓\n\t"
    assert plain("a\0b\udcff") == "a\\x00b\\udcff"
    assert plain("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert plain("x" * (LONGEST_TEXT + 5)) == "x" * LONGEST_TEXT + " … (5 more characters)"
