"""Finding files that are not as installed."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from egoworld_resources.environments.building.installed_files import Files, damaged_files
from egoworld_resources.environments.building.verified_files import Ledger
from made_envs import made_wheel


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An installed distribution, tiny 1.0 with two modules, its files shared with a cache as uv does it."""
    wheel = made_wheel(tmp_path / "wheels", "tiny", "1.0", {"tiny.py": "X = 1\n", "other.py": "Y = 2\n"})
    folder = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "cache")
    shutil.copytree(tmp_path / "cache", folder, copy_function=os.link)
    return folder


def rewrite_unnoticed(file: Path, text: str) -> None:
    """Same size, same modification time, other bytes."""
    before = file.stat()
    assert len(text) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_installed_is_whole(site: Path) -> None:
    assert damaged_files(site) == {}


def test_altered_and_missing_files_are_named_under_their_distribution(site: Path) -> None:
    rewrite_unnoticed(site / "tiny.py", "X = 9\n")
    (site / "other.py").unlink()
    assert damaged_files(site) == {"tiny": ["tiny.py", "other.py"]}


def test_the_ledger_spares_reading_but_not_after_a_write(site: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert damaged_files(site, ledger) == {}
    ledger.save()
    rewrite_unnoticed(site / "other.py", "Y = 9\n")
    again = Ledger(tmp_path / "ledger.sqlite")
    assert damaged_files(site, again) == {}, "unread: size and time are those that the ledger knows"
    (site / "tiny.py").write_text("X = 9\n")
    assert damaged_files(site, again) == {"tiny": ["tiny.py"]}
    assert damaged_files(site) == {"tiny": ["tiny.py", "other.py"]}


def test_the_ledger_knows_the_hardlinks_of_another_env(site: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    damaged_files(site, ledger)
    other = tmp_path / "other-env"
    shutil.copytree(tmp_path / "cache", other, copy_function=os.link)
    rewrite_unnoticed(other / "other.py", "Y = 9\n")
    assert damaged_files(other, ledger) == {}, "unread: it is the file that was read before"
    (other / "tiny.py").unlink()
    assert damaged_files(other, ledger) == {"tiny": ["tiny.py"]}, "one that is gone is seen, the others stay unread"


def test_what_an_env_has_alone_is_read_each_time(site: Path, tmp_path: Path) -> None:
    (site / "other.py").unlink()
    (site / "other.py").write_text("Y = 2\n")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert damaged_files(site, ledger) == {}
    rewrite_unnoticed(site / "other.py", "Y = 9\n")
    assert damaged_files(site, ledger) == {"tiny": ["other.py"]}


def test_the_ledger_keeps_no_file_that_is_not_shared(site: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert damaged_files(site, ledger) == {}
    ledger.save()
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize("torn", ["SQLite format 3\0 and no more", "[]", ""])
def test_a_torn_or_foreign_ledger_counts_as_none(site: Path, tmp_path: Path, torn: str) -> None:
    (tmp_path / "ledger.sqlite").write_text(torn)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    rewrite_unnoticed(site / "tiny.py", "X = 9\n")
    assert damaged_files(site, ledger) == {"tiny": ["tiny.py"]}
    (site / "tiny.py").write_text("X = 1\n")
    assert damaged_files(site, ledger) == {}
    ledger.save()
    rewrite_unnoticed(site / "tiny.py", "X = 9\n")
    assert damaged_files(site, Ledger(tmp_path / "ledger.sqlite")) == {}, "made again, and used from then on"


def test_the_stamp_sees_writes_new_files_and_missing_ones_but_not_bytecode(site: Path) -> None:
    before = Files(site).stamp()
    (site / "__pycache__").mkdir()
    (site / "__pycache__" / "tiny.pyc").write_bytes(b"x")
    assert Files(site).stamp() == before
    (site / "new.py").write_text("")
    with_new = Files(site).stamp()
    assert with_new != before
    (site / "new.py").unlink()
    assert Files(site).stamp() == before
    (site / "tiny.py").write_text("X = 9\n")
    assert Files(site).stamp() != before


def test_read_only_takes_write_permission_and_keeps_the_rest(site: Path) -> None:
    (site / "tiny.py").chmod(0o755)
    Files(site).make_read_only()
    assert (site / "tiny.py").stat().st_mode & 0o777 == 0o555
    assert (site / "other.py").stat().st_mode & 0o222 == 0
