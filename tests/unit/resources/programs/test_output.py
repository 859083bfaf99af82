"""What programs say, kept for an operation."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from egoworld_resources.programs.output import words_into, words_of


def spoken(text: str) -> str:
    with words_of(["sh", "-c", "x y"]) as words:
        subprocess.run(["sh", "-c", f"echo {text} >&2"], stderr=words.file, check=True)
        return words.text()


def test_without_an_operation_nothing_is_kept(tmp_path: Path) -> None:
    assert spoken("hello") == "hello"
    assert list(tmp_path.iterdir()) == []


def test_all_programs_of_an_operation_are_kept_and_each_is_kept_apart(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "one"
    with words_into(file):
        assert not file.exists(), "it appears with the first word"
        assert (spoken("first"), spoken("second")) == ("first", "second")
    assert spoken("later") == "later"
    assert file.read_text() == "$ sh -c 'x y'\nfirst\n$ sh -c 'x y'\nsecond\n"


def test_operations_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def operation(name: str) -> None:
        with words_into(tmp_path / name):
            both.wait(30)
            spoken(name)

    threads = [threading.Thread(target=operation, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / name).read_text().splitlines()[-1] for name in ("a", "b")] == ["a", "b"]
