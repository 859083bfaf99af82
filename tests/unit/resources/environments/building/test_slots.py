"""Places in which venvs are made before they are renamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.environments.building.slots import free_slot
from egoworld_resources.environments.errors import EnvBuildFailed
from egoworld_resources.errors import LockBusy


def make(folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/usr/bin/true")
    (folder / "pyvenv.cfg").write_text("home = here\n")


def never(folder: Path) -> None:
    raise AssertionError(f"{folder} is made a second time")


def test_two_at_once_have_two_places_and_the_next_one_has_the_first_again(tmp_path: Path) -> None:
    with free_slot(tmp_path) as first, free_slot(tmp_path) as second:
        assert first.path != second.path
    with free_slot(tmp_path) as third:
        assert third.path == first.path


def test_an_empty_venv_is_made_once_and_a_copy_is_nobody_elses(tmp_path: Path) -> None:
    with free_slot(tmp_path) as slot:
        slot.fill("one", make)
        slot.path.rename(tmp_path / "env")
    (tmp_path / "env" / "pyvenv.cfg").write_text("altered\n")
    with free_slot(tmp_path) as slot:
        slot.fill("one", never)
        assert (slot.path / "pyvenv.cfg").read_text() == "home = here\n"
        assert (slot.path / "bin" / "python").is_symlink()


def test_what_a_crash_left_is_gone_and_so_is_what_was_not_renamed(tmp_path: Path) -> None:
    with free_slot(tmp_path) as slot:
        (slot.path / "half").mkdir(parents=True)
    assert not slot.path.exists()
    (slot.path / "half").mkdir(parents=True)
    with free_slot(tmp_path) as again:
        assert again.path == slot.path
        assert not again.path.exists()


def test_a_lock_that_is_busy_inside_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LockBusy, match="another"), free_slot(tmp_path):
        raise LockBusy("another lock")


def test_a_venv_that_cannot_be_copied_is_an_error_of_the_build(tmp_path: Path) -> None:
    def nothing(folder: Path) -> None:
        del folder

    with free_slot(tmp_path) as slot, pytest.raises(EnvBuildFailed, match="could not be copied"):
        slot.fill("none", nothing)
