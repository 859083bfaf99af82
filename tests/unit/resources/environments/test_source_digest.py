"""The digest of source code: what counts and what does not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.environments.source_digest import closure, source_digest
from egoworld_resources.environments.sources import Sources
from egoworld_resources.errors import BadConfiguration

SOURCE = '''"""Doc."""
import math


class Model:
    """Doc."""

    scale = 2.0

    def run(self, x: float) -> float:
        """Doc."""
        return math.sqrt(x) * self.scale
'''


def write(folder: Path, **sources: str) -> None:
    """Modules by name; `a_in_b` is b.py in the folder a."""
    for name, text in sources.items():
        file = folder / f"{name.replace('_in_', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def digest(folder: Path, module: str = "runner") -> str:
    sources = Sources()
    return source_digest(sources, folder, closure(sources, folder, module))


def names(folder: Path, module: str = "runner") -> list[str]:
    return [file.relative_to(folder).as_posix() for file in closure(Sources(), folder, module)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""Doc."""', '"""Other words."""'),
        ('    """Doc."""\n', ""),
        ("import math\n", "import math  # roots\n"),
        ("math.sqrt(x) * self.scale", "(\n            math.sqrt( x )*self.scale\n        )"),
        ("2.0", "2.00"),
    ],
)
def test_looks_do_not_count(tmp_path: Path, before: str, after: str) -> None:
    write(tmp_path, runner=SOURCE)
    first = digest(tmp_path)
    assert before in SOURCE
    write(tmp_path, runner=SOURCE.replace(before, after))
    assert digest(tmp_path) == first


@pytest.mark.parametrize(
    ("before", "after"),
    [("2.0", "2.1"), ("math.sqrt", "math.cbrt"), ("scale", "factor"), ("x: float", "x: float = 0.0")],
)
def test_what_runs_counts(tmp_path: Path, before: str, after: str) -> None:
    write(tmp_path, runner=SOURCE)
    first = digest(tmp_path)
    write(tmp_path, runner=SOURCE.replace(before, after))
    assert digest(tmp_path) != first


@given(value=st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.booleans()))
def test_two_constants_share_a_digest_only_when_they_are_one(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    folder = tmp_path_factory.mktemp("constants")
    write(folder, runner=f"X = {value!r}\n")
    first = digest(folder)
    write(folder, runner=f"# again\nX = ({ast.unparse(ast.parse(repr(value)))})\n")
    assert digest(folder) == first
    write(folder, runner=f"X = [{value!r}]\n")
    assert digest(folder) != first


def test_the_closure_follows_local_imports_only(tmp_path: Path) -> None:
    write(
        tmp_path,
        runner="import json\nfrom motion import flow\ndef f():\n    import linking\n",
        motion="import numpy\nfrom shapes.hand import Hand\n",
        linking="",
        shapes_in___init__="",
        shapes_in_hand="from . import bones\nfrom .skin import colour\n",
        shapes_in_bones="",
        shapes_in_skin="",
        shapes_in_unused="",
        json_lines="",
    )
    assert names(tmp_path) == [
        "linking.py",
        "motion.py",
        "runner.py",
        "shapes/__init__.py",
        "shapes/bones.py",
        "shapes/hand.py",
        "shapes/skin.py",
    ]


def test_a_circle_of_imports_ends(tmp_path: Path) -> None:
    write(tmp_path, runner="import motion\n", motion="import runner\n")
    assert names(tmp_path) == ["motion.py", "runner.py"]


def test_moving_code_to_another_module_counts(tmp_path: Path) -> None:
    write(tmp_path, runner="import motion\n", motion="X = 1\n")
    first = digest(tmp_path)
    (tmp_path / "motion.py").rename(tmp_path / "moved.py")
    write(tmp_path, runner="import moved\n")
    assert digest(tmp_path) != first


def test_broken_source_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, runner="x = 1\ndef f(:\n")
    with pytest.raises(BadConfiguration, match=r"runner\.py:2: not Python"):
        digest(tmp_path)
