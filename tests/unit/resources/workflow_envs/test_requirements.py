"""Which package strings are taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.workflow_envs.errors import InvalidPackages
from egoworld_resources.workflow_envs.requirements import names_of, of_file, parsed

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "good",
    [
        "numpy",
        "numpy>=1.24.0",
        "torch==2.0.0",
        "uvicorn[standard]>=0.30; python_version < '3.13'",
        f"tool @ git+https://host/owner/tool@{COMMIT}",
        f"tool @ git+https://host/owner/tool@{COMMIT}#subdirectory=python",
    ],
)
def test_requirements_are_taken(good: str) -> None:
    assert len(parsed([good])) == 1


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "--index-url=http://evil",
        "-r other.txt",
        "-e .",
        "./here",
        "/etc/passwd",
        "numpy\n--index-url http://evil",
        "numpy; os.system('x')",
        "tool @ file:///etc",
        "tool @ https://host/tool.whl",
        "tool @ git+https://host/owner/tool@main",
        "tool @ git+https://host/owner/tool",
        f"tool @ git+ssh://host/owner/tool@{COMMIT}",
        f"tool @ git+https://host/owner/tool@{COMMIT[:39]}",
        "name with spaces",
        "numpy>=",
        "x" * 3000 + "!",
    ],
)
def test_everything_else_is_refused_and_quoted(bad: str) -> None:
    with pytest.raises(InvalidPackages) as raised:
        parsed([bad])
    assert len(str(raised.value)) < 400


@given(st.text())
def test_any_text_is_a_requirement_or_refused(text: str) -> None:
    try:
        (found,) = parsed([text])
    except InvalidPackages:
        return
    assert found.name
    assert not text.strip().startswith("-")


def test_a_requirements_file_is_a_list_of_packages() -> None:
    text = "# ours\nnumpy>=1.24  # arrays\n\npandas \\\n  >=2\n"
    assert [str(one) for one in parsed(of_file(text))] == ["numpy>=1.24", "pandas>=2"]


@pytest.mark.parametrize("line", ["-r more.txt", "--index-url http://evil", "-e .", "a==1 --hash=sha256:00"])
def test_options_of_a_requirements_file_are_refused(line: str) -> None:
    with pytest.raises(InvalidPackages):
        parsed(of_file(f"numpy\n{line}\n"))


def test_what_is_removed_is_named_alone() -> None:
    assert names_of(["NumPy", "Foo_Bar"]) == ["numpy", "foo-bar"]
    with pytest.raises(InvalidPackages, match="alone"):
        names_of(["numpy>=1"])


def test_a_call_takes_no_endless_list() -> None:
    with pytest.raises(InvalidPackages, match="501"):
        parsed(["numpy"] * 501)
