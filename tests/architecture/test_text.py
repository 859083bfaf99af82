"""What every file of the project keeps to: length, names, no loose ends, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST = 400
GENERATED = ("locks/", "tests/locks/")

BANNED_WORDS = {"scene", "scenes", "segment", "segments", "chunk", "chunks", "checkpoint", "checkpoints"}
BANNED_WORDS |= {"handler", "handlers", "manager", "managers", "utils", "util", "helpers", "helper", "common"}
THEIR_WORDS = {"data_chunk", "file_chunk", "chunk_index", "chunks_size", "data_chunk_index", "video_chunk_index"}
THEIR_WORDS |= {"get_route_handler"}
"""Keys of LeRobot's file format, and a method of FastAPI; what writes it may say "chunk", its word for a folder."""

LOOSE_ENDS = re.compile(r"\bTODO\b|\bFIXME\b|\bXXX\b|\bHACK\b|NotImplementedError")
MACHINE = re.compile(r"(?<![\w./-])/(?:work|root|home/\w+|tmp/brief)(?:/|\b)")
ODD_ENGLISH = re.compile(
    r"\banew\b|\bthat (?:is|are) none\b|(?<![-`])\bmend(?:s|ed|ing)?\b|\bso many\b|\bof today\b(?!')"
    r"|\bwhoever\b|\bseed 0\d\d\b"
)
"""Phrases that a reader stumbles over; `--mend` of `egoworld fsck` and `mend` as code are allowed."""
OLD_WORDS = re.compile(r"\bglanc|\btall(?:y|ied)\b|(?<![.\"])\btold\b(?![:,])", re.IGNORECASE)
"""Not in what is not a test; `licences.told` of envs/policy.toml is a setting, "told" a key of `env check --json`."""
REGISTRY = re.compile(r"\b(?:pypi\.org|pythonhosted\.org)\b")


@cache
def tracked() -> tuple[Path, ...]:
    """Text files that git knows, generated ones left out."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith(GENERATED)]
    files = [REPOSITORY / name for name in names]
    return tuple(file for file in files if file.is_file() and b"\0" not in file.read_bytes()[:4096])


def python_files() -> list[Path]:
    return [file for file in tracked() if file.suffix == ".py"]


def lines_matching(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for file in files
        if file != Path(__file__)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def declared_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names that the file itself gives: functions, classes, arguments, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def silent_excepts(tree: ast.Module) -> Iterator[int]:
    """Lines where everything that goes wrong is swallowed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            named = node.type.id if isinstance(node.type, ast.Name) else None
            wide = node.type is None or named in ("Exception", "BaseException")
            if wide and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body):
                yield node.lineno


def test_no_file_is_too_long() -> None:
    counts = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in tracked()}
    long = {str(file): count for file, count in counts.items() if count > LONGEST and file.name != "LICENSE"}
    assert long == {}


def test_names_are_the_fields_terms() -> None:
    found: list[str] = []
    for file in python_files():
        shown = file.relative_to(REPOSITORY)
        if words(file.stem) & BANNED_WORDS:
            found.append(f"{shown}: file name")
        for name, line in declared_names(ast.parse(file.read_bytes())):
            theirs = THEIR_WORDS | ({"chunk"} if "dataset" in file.parts else set[str]())
            if name.lower() not in theirs and words(name) & BANNED_WORDS:
                found.append(f"{shown}:{line}: {name}")
    assert found == []


@pytest.mark.parametrize("pattern", [LOOSE_ENDS, MACHINE, REGISTRY], ids=["loose ends", "machine", "registry"])
def test_nothing_unfinished_and_nothing_of_one_machine(pattern: re.Pattern[str]) -> None:
    assert lines_matching(pattern, list(tracked())) == []


def test_the_english_is_plain() -> None:
    """In the sources of model envs too, where a reworded comment makes artifacts stale: write it well at once."""
    texts = [file for file in tracked() if file.suffix in (".py", ".md", ".js", ".toml") or file.name == "Makefile"]
    assert lines_matching(ODD_ENGLISH, texts) == []
    code = [file for file in texts if file.relative_to(REPOSITORY).parts[0] not in ("tests", "CHANGELOG.md")]
    assert lines_matching(OLD_WORDS, code) == []


def test_nothing_is_swallowed() -> None:
    found = [
        f"{file.relative_to(REPOSITORY)}:{line}"
        for file in python_files()
        for line in silent_excepts(ast.parse(file.read_bytes()))
    ]
    assert found == []


def test_the_rules_see_what_they_forbid() -> None:
    assert words("SceneManager") & BANNED_WORDS == {"scene", "manager"}
    assert words("my_helper_2") & BANNED_WORDS == {"helper"}
    assert not words("commonality") & BANNED_WORDS
    assert list(silent_excepts(ast.parse("try:\n    x()\nexcept Exception:\n    pass\n"))) == [3]
    assert LOOSE_ENDS.search("# TODO later")
    assert ODD_ENGLISH.search("make it anew")
    assert not ODD_ENGLISH.search("egoworld fsck --mend")
    assert OLD_WORDS.search("def told(frame)")
    assert not OLD_WORDS.search('"told": checked.told, self.licences.told')
    assert MACHINE.search("see /work/main/x")
    assert not MACHINE.search("network/work/x ../work")
