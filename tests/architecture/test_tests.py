"""What the tests themselves keep to: they enter by what is public, can fail, and say why they are left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PUBLIC = {"_exit"}
"""Names with an underscore that are public all the same: os._exit."""
NO_OTHER_WAY = {
    ("e2e/test_upkeep.py", "dagster._core.events"),
    ("brisk_daemon.py", "dagster._daemon"),
    ("brisk_daemon.py", "dagster._daemon.cli"),
}
"""Dagster has no public name for what a run's process says of itself, and no setting for how often its daemon looks."""
OUTSIDE = {"builder", "shared_data", "real_hands"}
"""Fixtures of model envs and of the data beside the checkout."""
STARTING = {"daemons", "made_browser", "made_server", "soak"}
"""Modules that start servers."""
SETTERS = {"setattr", "delattr", "getattr", "patch", "object"}


@cache
def files() -> dict[str, ast.Module]:
    """Every Python file of the tests by its name below tests/."""
    found = sorted(TESTS.rglob("*.py"))
    return {str(file.relative_to(TESTS)): ast.parse(file.read_text(encoding="utf-8")) for file in found}


def private(name: str) -> bool:
    """Whether a name, or a part of a dotted one, is private."""
    return any(part.startswith("_") and not part.startswith("__") and part not in PUBLIC for part in name.split("."))


def reached(node: ast.AST) -> Iterator[str]:
    """The private names that an expression or an import reaches for in something else."""
    if isinstance(node, ast.Attribute) and private(node.attr):
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            yield ast.unparse(node)
    elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
        module = node.module or ""
        yield from [module] if private(module) else [f"{module}.{a.name}" for a in node.names if private(a.name)]
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if private(alias.name))
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SETTERS:
        words = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        yield from (word for word in words if private(word))


def cannot_fail(asserted: ast.expr) -> bool:
    """Whether an assertion holds whatever comes out: a length or a count that is at least nothing, a constant."""
    if isinstance(asserted, ast.BoolOp) and isinstance(asserted.op, ast.And):
        return any(cannot_fail(part) for part in asserted.values)
    if isinstance(asserted, ast.Compare) and isinstance(asserted.ops[-1], ast.GtE | ast.Gt):
        return ast.unparse(asserted.comparators[-1]) == ("0" if isinstance(asserted.ops[-1], ast.GtE) else "-1")
    if isinstance(asserted, ast.Tuple):
        return bool(asserted.elts)
    return isinstance(asserted, ast.Constant) and bool(asserted.value)


def says_nothing(call: ast.Call) -> bool:
    """Whether a test is left out without a reason."""
    name = ast.unparse(call.func)
    if name not in ("pytest.skip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"):
        return False
    reasons = [word.value for word in call.keywords if word.arg == "reason"]
    if name in ("pytest.skip", "pytest.mark.skip"):
        reasons += call.args
    return not any(ast.unparse(reason).strip("'\"") for reason in reasons)


def test_no_test_reaches_into_what_is_private() -> None:
    found = [(file, node, name) for file, tree in files().items() for node in ast.walk(tree) for name in reached(node)]
    assert {(file, name) for file, _, name in found} >= NO_OTHER_WAY, "what is excused is still there"
    left = [f"{file}:{node.lineno}: {name}" for file, node, name in found if (file, name) not in NO_OTHER_WAY]
    assert left == []


def test_every_assertion_can_fail() -> None:
    asserts = [
        (file, node) for file, tree in files().items() for node in ast.walk(tree) if isinstance(node, ast.Assert)
    ]
    assert [f"{file}:{node.lineno}: {ast.unparse(node.test)}" for file, node in asserts if cannot_fail(node.test)] == []


def test_every_skip_says_why() -> None:
    calls = [(file, node) for file, tree in files().items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [f"{file}:{node.lineno}: {ast.unparse(node)}" for file, node in calls if says_nothing(node)] == []


def fixtures_of(tree: ast.Module) -> set[str]:
    """The fixtures that a file defines."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if any(ast.unparse(d).startswith("pytest.fixture") for d in f.decorator_list)}


def test_the_quick_suite_needs_neither_server_nor_model_env_nor_data() -> None:
    """`make quick` runs tests/unit."""
    heavy = {*fixtures_of(files()["servers.py"]), *fixtures_of(files()["attack/conftest.py"]), *OUTSIDE}
    assert {"minio", "versitygw", "postgres_server", "attacked_server"} <= heavy
    assert fixtures_of(files()["conftest.py"]) >= OUTSIDE, "these are fixtures still"
    found = [
        f"{file}:{node.lineno}: {name}"
        for file, tree in files().items()
        for node in ast.walk(tree)
        if file.startswith("unit/")
        for name in asked_for(node)
        if name in heavy or name.removeprefix("tests.") in STARTING
    ]
    assert found == []


def asked_for(node: ast.AST) -> list[str]:
    """Fixtures that a function or a mark asks for, and modules that are imported."""
    if isinstance(node, ast.FunctionDef):
        return [argument.arg for argument in node.args.args]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("usefixtures", "getfixturevalue")):
        return [str(a.value) for a in node.args if isinstance(a, ast.Constant)]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_the_rules_see_what_they_are_for() -> None:
    bad = """
from dagster._core import events
store._objects.put("x")
monkeypatch.setattr(store, "_objects", None)
monkeypatch.setattr("egoworld.store._objects", None)
"""
    good = """
import os
self._own, cls._own, os._exit(0), store.__class__, (lambda _: 0)
monkeypatch.setattr(store, "objects", None)
"""
    assert [name for node in ast.walk(ast.parse(bad)) for name in reached(node)] == [
        "dagster._core",
        "_objects",
        "egoworld.store._objects",
        "store._objects",
    ]
    assert [name for node in ast.walk(ast.parse(good)) for name in reached(node)] == []
    for text, never in {
        "len(x) >= 0": True,
        "a and x > -1": True,
        "True": True,
        "(x, 'said')": True,
        "x >= 1": False,
        "all(x >= 0)": False,
        "x > 0": False,
    }.items():
        assert cannot_fail(ast.parse(text, mode="eval").body) is never, text
    for text, silent in {"pytest.skip()": True, "pytest.skip(f'no {x}')": False, "pytest.mark.skipif(x)": True}.items():
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        assert says_nothing(call) is silent, text
