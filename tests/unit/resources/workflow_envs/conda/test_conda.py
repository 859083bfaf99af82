"""What the conda backend reads and refuses before it asks a channel."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.conda.conda_lock import read_conda_lock, read_explicit_lock
from egoworld_resources.workflow_envs.conda.declaration import Declaration, merged, name_of, python_spec
from egoworld_resources.workflow_envs.conda.faults import as_fabric_errors
from egoworld_resources.workflow_envs.conda.packages import Package, digest_of, read_explicit, write_explicit
from egoworld_resources.workflow_envs.conda.specs import Specs
from egoworld_resources.workflow_envs.errors import (
    CondaFailed,
    FabricError,
    IndexSilent,
    InvalidPackages,
    NoSpace,
    PolicyRefused,
    PythonNotFound,
)

CHANNEL = "https://conda.example.org/made"
URL = f"{CHANNEL}/linux-64/lib-tool-1.2-h0_3.conda"
A, B = "a" * 64, "b" * 64


@pytest.fixture
def specs(tmp_path: Path) -> Specs:
    return Specs(Rattler(tmp_path), [CHANNEL, "conda-forge"])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("CMake >=3.28", "cmake >=3.28"),
        ("python=3.11", "python 3.11.*"),
        ("numpy ==1.26.4 py311h0_0", "numpy ==1.26.4 py311h0_0"),
        ("conda-forge::ffmpeg", "conda-forge::ffmpeg"),
    ],
)
def test_match_specs_are_read_as_conda_reads_them(specs: Specs, text: str, read: str) -> None:
    assert specs.parsed([text]) == [read]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-c strange",
        "--file=/etc/passwd",
        "tool\n@EXPLICIT",
        "./tool-1-0.conda",
        "/tmp/tool.conda",
        "https://example.org/linux-64/tool-1-0.conda",
        "tool @ file:///tmp/tool",
        "tool[url=http]",
        f"tool[sha256={A}]",
        "tool[license=MIT]",
        "strange::tool",
        "file:///tmp/channel::tool",
        "conda-forge/osx-64::tool",
        "conda-forge:space:tool",
        "py*",
        "tool 3",
    ],
)
def test_what_is_no_package_of_an_allowed_channel_is_refused(specs: Specs, text: str) -> None:
    with pytest.raises(
        InvalidPackages, match=r"not a match spec|come from channels|not taken|not one of|only packages"
    ):
        specs.parsed([text])


def test_two_specs_of_one_package_are_refused_unless_one_asks_for_nothing(specs: Specs) -> None:
    assert specs.parsed(["cmake >=3", "cmake", "ninja", "cmake >=3"]) == ["cmake >=3", "ninja"]
    with pytest.raises(InvalidPackages, match="are about one package"):
        specs.parsed(["cmake >=3", "cmake <3"])


def test_names_alone_are_removed(specs: Specs) -> None:
    assert specs.names(["CMake", "tool"]) == ["cmake", "tool"]
    with pytest.raises(InvalidPackages, match="name the package alone, such as 'cmake'"):
        specs.names(["cmake >=3"])


def test_channels_must_be_named_by_the_policy(tmp_path: Path) -> None:
    with pytest.raises(InvalidPackages, match=r"envs/policy\.toml allows no conda channels"):
        _ = Specs(Rattler(tmp_path), []).channels


@pytest.mark.parametrize("channels", [[], [CHANNEL, "nodefaults"], ["conda-forge"], [f"{CHANNEL}/", "conda-forge"]])
def test_channels_in_the_order_of_the_policy_are_taken(specs: Specs, channels: list[str]) -> None:
    specs.check(channels)


@pytest.mark.parametrize("channels", [["defaults"], ["conda-forge", CHANNEL], [CHANNEL, "strange"]])
def test_other_channels_and_another_order_are_refused(specs: Specs, channels: list[str]) -> None:
    with pytest.raises(PolicyRefused, match=r"are not those of envs/policy\.toml, in its order"):
        specs.check(channels)


def test_an_explicit_lock_is_read_as_it_was_written() -> None:
    packages = (Package.of(URL, A), Package.of(f"{CHANNEL}/noarch/tz-2026a-0.tar.bz2", B))
    assert (packages[0].name, packages[0].version, packages[0].build) == ("lib-tool", "1.2", "h0_3")
    assert packages[1].channel == f"{CHANNEL}/"
    text = write_explicit(reversed(packages), ["tool"])
    assert read_explicit(text) == packages
    assert write_explicit(packages, ["tool"]) == text
    assert read_explicit(f"@EXPLICIT\n\n{URL}#sha256:{A}\n") == packages[:1]


def test_a_digest_is_of_the_contents_whatever_the_channel() -> None:
    here, there = Package.of(URL, A), Package.of(URL.replace("made", "mirror"), A)
    assert digest_of([here]) == digest_of([there]) != digest_of([Package.of(URL, B)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (URL, "has no line @EXPLICIT"),
        (f"@EXPLICIT\n{URL}", "has no sha256 in the lock"),
        (f"@EXPLICIT\n{URL}#{'a' * 32}", "has no sha256 in the lock"),
        (f"@EXPLICIT\n{URL}#{A} --force", "is not a line of an explicit lock"),
        (f"@EXPLICIT\n{URL}#{A}\n{URL.replace('1.2', '1.3')}#{B}", "names lib-tool twice"),
        (f"@EXPLICIT\n{URL.replace('linux-64', 'osx-64')}#{A}", "only packages for linux-64 and noarch"),
        (f"@EXPLICIT\n/tmp/linux-64/tool-1-0.conda#{A}", "is not the address of a conda package"),
        (f"@EXPLICIT\n{CHANNEL}/linux-64/tool.exe#{A}", "is not the address of a conda package"),
    ],
)
def test_an_explicit_lock_that_cannot_be_checked_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidPackages, match=words):
        read_explicit(text)


def test_a_declaration_is_an_environment_yml() -> None:
    made = Declaration("one", (CHANNEL,), ("python 3.11.*", "tool"))
    assert Declaration.parse(made.text) == made
    assert yaml.safe_load(made.text) == {
        "name": "one",
        "channels": [CHANNEL],
        "dependencies": ["python 3.11.*", "tool"],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "is no YAML"),
        ("tool", "must have the keys"),
        ("name: x\nvariables: {A: 1}", "variables is not taken"),
        ("name: x\ndependencies: tool", "dependencies must be a list"),
        ("name: x\ndependencies: [{pip: [torch]}]", "packages of pip are not mixed into a conda env"),
        ("name: x\nchannels: [1]", "channels must be texts"),
    ],
)
def test_an_environment_yml_that_says_more_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidPackages, match=words):
        Declaration.parse(text)


def test_a_new_spec_takes_the_place_of_the_old() -> None:
    assert merged(["tool <1", "python 3.11.*"], ["conda-forge::Tool >=2"]) == ("python 3.11.*", "conda-forge::Tool >=2")
    assert name_of("https://conda.example.org/made::lib_tool.a >=1") == "lib_tool.a"


@pytest.mark.parametrize(
    ("version", "spec"), [("3.11", ("python 3.11.*",)), ("3.11.9", ("python ==3.11.9",)), ("none", ()), ("", ())]
)
def test_python_is_a_dependency(version: str, spec: tuple[str, ...]) -> None:
    assert python_spec(version) == spec


@pytest.mark.parametrize("version", ["2.7", "3", "3.11;", "latest"])
def test_what_is_no_python_is_refused(version: str) -> None:
    with pytest.raises(PythonNotFound, match="is not a version such as"):
        python_spec(version)


def conda_lock(**changed: object) -> str:
    entry = {
        "name": "lib-tool",
        "version": "1.2",
        "manager": "conda",
        "platform": "linux-64",
        "dependencies": {"python": ">=3.11"},
        "url": URL,
        "hash": {"md5": "c" * 32, "sha256": A},
        "category": "main",
        "optional": False,
    } | changed
    python = {**entry, "name": "python", "version": "3.11.9", "dependencies": {}}
    python |= {"url": f"{CHANNEL}/linux-64/python-3.11.9-0.conda", "manager": "conda", "category": "main"}
    python |= {"hash": {"sha256": B}, "platform": "linux-64"}
    return yaml.safe_dump({"version": 1, "metadata": {}, "package": [entry, python]})


def test_a_conda_lock_gives_packages_and_what_nobody_else_needs() -> None:
    locked = read_conda_lock(conda_lock())
    assert locked.packages == (Package.of(URL, A), Package.of(f"{CHANNEL}/linux-64/python-3.11.9-0.conda", B))
    assert locked.dependencies == ("lib-tool ==1.2", "python ==3.11.9")


@pytest.mark.parametrize("changed", [{"platform": "osx-64"}, {"category": "dev"}])
def test_other_platforms_and_categories_are_left_out(changed: dict[str, object]) -> None:
    assert [one.name for one in read_conda_lock(conda_lock(**changed)).packages] == ["python"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no YAML"),
        ("version: 2\npackage: []", "not a conda-lock.yml of version 1"),
        ("version: 1\npackage: []", "locks nothing for linux-64"),
        (conda_lock(manager="pip", name="torch"), r"has a pip section \(torch\)"),
        (conda_lock(hash={"md5": "c" * 32}), "has no sha256 in conda-lock.yml"),
        (conda_lock(version="1.3"), r"calls lib-tool-1\.2-h0_3\.conda lib-tool 1\.3"),
    ],
)
def test_a_conda_lock_that_cannot_be_used_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidPackages, match=words):
        read_conda_lock(text)


def test_every_package_of_an_explicit_lock_is_a_dependency() -> None:
    assert read_explicit_lock(f"@EXPLICIT\n{URL}#{A}\n").dependencies == ("lib-tool ==1.2",)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("write failed: No space left on device (os error 28)"), NoSpace),
        (RuntimeError("error sending request for url"), IndexSilent),
        (RuntimeError("something else"), CondaFailed),
        (InvalidPackages("as it is"), InvalidPackages),
    ],
)
def test_errors_of_rattler_are_kept_apart(error: Exception, kind: type[FabricError]) -> None:
    with pytest.raises(kind) as caught, as_fabric_errors():
        raise error
    assert str(caught.value) == str(error)
