"""Generations of an env: which one is live, which ones go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.environments.building.generations import READY, Generations, Ready


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "env")


def whole(generations: Generations, *, live: bool = True) -> Path:
    generation = generations.fresh("0123456789abcdef")
    generation.mkdir()
    Ready("env", "0" * 64, "/contract", "bin/python", "1" * 64, 3, 0.5).write(generation)
    if live:
        generations.swap(generation)
    return generation


def test_there_is_none_before_the_first_build(generations: Generations) -> None:
    assert generations.current() is None


def test_a_swap_makes_the_new_one_live(generations: Generations) -> None:
    first = whole(generations)
    second = whole(generations)
    assert first != second
    assert generations.current() == second
    assert first.is_dir()


@pytest.mark.parametrize("text", [None, "", '{"env": "x"', "[]", '{"env": "x"}'])
def test_without_a_readable_ready_file_it_is_not_whole(generations: Generations, text: str | None) -> None:
    generation = generations.fresh("0" * 64)
    generation.mkdir()
    if text is not None:
        (generation / READY).write_text(text)
    assert Ready.read(generation) is None


def test_the_unfinished_goes_at_once_and_the_superseded_after_its_grace(generations: Generations) -> None:
    old = whole(generations)
    live = whole(generations)
    unfinished = generations.fresh("0" * 64)
    (unfinished / "lib").mkdir(parents=True)
    assert generations.collect(grace_s=3600) == [unfinished.name]
    assert generations.collect(grace_s=0) == [old.name]
    assert generations.current() == live
    assert live.is_dir()


def test_a_generation_that_a_process_runs_from_stays(generations: Generations) -> None:
    old = whole(generations)
    (old / "bin").mkdir()
    (old / "bin" / "python").symlink_to(sys.executable)
    program = [str(old / "bin" / "python"), "-S", "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        whole(generations)
        assert generations.collect(grace_s=0) == []
        running.communicate(b"")
    assert generations.collect(grace_s=0) == [old.name]
