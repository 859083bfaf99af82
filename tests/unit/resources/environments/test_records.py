"""Finding files that are not as installed."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from egoworld_resources.environments.ledger import Ledger
from egoworld_resources.environments.records import damaged_files, make_read_only, stamp
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
    ledger = Ledger(tmp_path / "ledger.json")
    assert damaged_files(site, ledger) == {}
    ledger.save()
    rewrite_unnoticed(site / "other.py", "Y = 9\n")
    again = Ledger(tmp_path / "ledger.json")
    assert damaged_files(site, again) == {}, "unread: size and time are those that the ledger knows"
    (site / "tiny.py").write_text("X = 9\n")
    assert damaged_files(site, again) == {"tiny": ["tiny.py"]}
    assert damaged_files(site) == {"tiny": ["tiny.py", "other.py"]}


def test_the_ledger_knows_hardlinks(site: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    damaged_files(site, ledger)
    twin = tmp_path / "twin"
    twin.hardlink_to(site / "tiny.py")
    row = next(line for line in (site / "tiny-1.0.dist-info/RECORD").read_text().splitlines() if "tiny.py" in line)
    assert ledger.knows(twin.stat(), row.split(",")[1])


def test_the_ledger_keeps_no_file_that_is_not_shared(site: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache")
    ledger = Ledger(tmp_path / "ledger.json")
    assert damaged_files(site, ledger) == {}
    ledger.save()
    assert not (tmp_path / "ledger.json").exists()


def test_a_torn_ledger_counts_as_none(site: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text('{"1:2": "3')
    ledger = Ledger(tmp_path / "ledger.json")
    rewrite_unnoticed(site / "tiny.py", "X = 9\n")
    assert damaged_files(site, ledger) == {"tiny": ["tiny.py"]}


def test_the_stamp_sees_writes_new_files_and_missing_ones_but_not_bytecode(site: Path) -> None:
    before = stamp(site)
    (site / "__pycache__").mkdir()
    (site / "__pycache__" / "tiny.pyc").write_bytes(b"x")
    assert stamp(site) == before
    (site / "new.py").write_text("")
    with_new = stamp(site)
    assert with_new != before
    (site / "new.py").unlink()
    assert stamp(site) == before
    (site / "tiny.py").write_text("X = 9\n")
    assert stamp(site) != before


def test_read_only_takes_write_permission_and_keeps_the_rest(site: Path) -> None:
    (site / "tiny.py").chmod(0o755)
    make_read_only(site)
    assert (site / "tiny.py").stat().st_mode & 0o777 == 0o555
    assert (site / "other.py").stat().st_mode & 0o222 == 0
