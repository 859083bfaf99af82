"""The catalog: what it reads, what its digests count, and what it says when a declaration is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.contract import contract_folder
from egoworld_resources.environments.errors import BadDeclaration, LockEdited, LockMissing, LockStale
from egoworld_resources.errors import BadConfiguration, UnknownName
from made_envs import made_catalog, made_env, made_lock, made_wheel, sealed

WEIGHTS = """
params = { level = 0.5, sides = ["left", "right"] }
label = "classical"

[[tool.egoworld.stages.clips.weights]]
name = "palm"
package = "tiny"
path = "palm.tflite"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
licence = "Apache-2.0"
"""


def test_two_envs_can_serve_one_stage(tmp_path: Path) -> None:
    made_env(tmp_path, "first")
    made_env(tmp_path, "second")
    made_env(tmp_path, "other", stage="masks")
    catalog = made_catalog(tmp_path)
    assert catalog.serving("clips") == ["first", "second"]
    assert catalog.stages == ["clips", "masks"]
    assert catalog.model("clips", "second").env == "second"


def test_a_model_is_read_as_declared(tmp_path: Path) -> None:
    folder = made_env(tmp_path, "tiny_model", dependencies=("six==1.17.0",), more=WEIGHTS)
    catalog = made_catalog(tmp_path)
    model = catalog.model("clips", "tiny_model")
    assert (model.folder, model.runner, model.module, model.device) == (folder, "runner:Model", "runner", "cpu")
    assert (model.licence, model.label) == ("MIT", "classical")
    assert model.params == {"level": 0.5, "sides": ["left", "right"]}
    assert [(weights.name, weights.package, weights.path) for weights in model.weights] == [
        ("palm", "tiny", "palm.tflite")
    ]
    env = catalog.env("tiny_model")
    assert (env.interpreter, env.python, env.dependencies) == ("env", ">=3.11", ("six==1.17.0",))


def test_an_env_from_another_folder_is_served_beside_ours(tmp_path: Path, repository: Path) -> None:
    made_env(tmp_path, "made_up")
    catalog = Catalog.load([repository / "envs", tmp_path / "envs"], [repository / "locks", tmp_path / "locks"])
    assert {"base", "made_up"} <= set(catalog.serving("clips"))
    assert catalog.lock_path("made_up") == tmp_path / "locks" / "pylock.made_up.toml"
    assert catalog.lock_path("base") == repository / "locks" / "pylock.base.toml"


def test_folders_that_declare_no_env_are_left_alone(tmp_path: Path) -> None:
    made_env(tmp_path, "real")
    (tmp_path / "envs" / "__pycache__").mkdir()
    (tmp_path / "envs" / "runner").mkdir()
    (tmp_path / "envs" / "runner" / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "envs" / "policy.toml").write_text("")
    assert made_catalog(tmp_path).names == ["real"]


def test_unknown_names_list_those_that_exist(tmp_path: Path) -> None:
    made_env(tmp_path, "first")
    made_env(tmp_path, "other", stage="masks")
    catalog = made_catalog(tmp_path)
    with pytest.raises(UnknownName, match=r"model env 'frist'; known: first, other"):
        catalog.env("frist")
    with pytest.raises(UnknownName, match=r"stage 'mask'; known: clips, masks"):
        catalog.serving("mask")
    with pytest.raises(UnknownName, match=r"env for stage 'masks' 'first'; known: other"):
        catalog.model("masks", "first")


def test_the_same_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    made_env(tmp_path / "a", "twin")
    made_env(tmp_path / "b", "twin")
    with pytest.raises(BadDeclaration, match=r"b/envs/twin/pyproject\.toml: .*also .*/a/envs/twin"):
        Catalog.load([tmp_path / "a" / "envs", tmp_path / "b" / "envs"], [tmp_path])


def test_a_missing_envs_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="nowhere"):
        Catalog.load(tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "field", "reason"),
    [
        ('device = "cpu"', 'device = "tpu"', "tool.egoworld.stages.clips.device", "'cpu' or 'cuda'"),
        ('device = "cpu"', "", "tool.egoworld.stages.clips.device", "Field required"),
        ('licence = "MIT"', "", "tool.egoworld.stages.clips.licence", "Field required"),
        ('licence = "MIT"', 'licence = "MIT"\nlicense = "MIT"', "tool.egoworld.stages.clips.license", "known: device"),
        ("runner:Model", "runner.py", "tool.egoworld.stages.clips.runner", "module:Class"),
        ('interpreter = "env"', 'interpreter = "conda"', "tool.egoworld.interpreter", "known: 'env', 'base'"),
        ('interpreter = "env"', 'interpretor = "env"', "tool.egoworld.interpretor", "known: interpreter"),
        ("egoworld-wrong", "egoworld-else", "project.name", "must be 'egoworld-wrong'"),
        ('">=3.11"', '"new"', "project.requires-python", "Invalid specifier"),
        ("dependencies = []", 'dependencies = ["six =< 1"]', "project.dependencies.0", "not a requirement"),
        ("dependencies = []", "dependencies = [", "TOML", "line"),
    ],
)
def test_a_wrong_declaration_names_file_and_field(
    tmp_path: Path, before: str, after: str, field: str, reason: str
) -> None:
    file = made_env(tmp_path, "wrong") / "pyproject.toml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    with pytest.raises(BadDeclaration) as caught:
        made_catalog(tmp_path)
    assert str(caught.value).startswith(f"{file}: {field}: ")
    assert reason in str(caught.value)


def test_a_runner_without_its_module_is_said_when_it_is_asked_for(tmp_path: Path) -> None:
    (made_env(tmp_path, "bare") / "runner.py").unlink()
    catalog = made_catalog(tmp_path)
    with pytest.raises(BadDeclaration, match=r"stages\.clips\.runner: runner\.py does not exist"):
        catalog.model("clips", "bare")


def test_base_has_no_dependencies_of_its_own(tmp_path: Path) -> None:
    made_env(tmp_path, "ours", interpreter="base", dependencies=("six==1.17.0",))
    with pytest.raises(BadDeclaration, match=r"project\.dependencies: must be empty"):
        made_catalog(tmp_path)


def test_envs_that_share_an_interpreter_have_one_lock_and_each_its_own_runner(tmp_path: Path) -> None:
    made_env(tmp_path, "vision", dependencies=("six==1.17.0",))
    for name in ("boxes", "shapes"):
        made_env(tmp_path, name, interpreter="vision", stage=name)
    lock = made_lock(tmp_path, "vision", [])
    before = made_catalog(tmp_path)
    digests = {name: before.runner_digest(name, name) for name in ("boxes", "shapes")}
    assert {before.lock_path(name) for name in before.names} == {lock}
    assert len({before.lock_digest(name) for name in before.names}) == 1
    assert [before.host(name).name for name in before.names] == ["vision"] * 3
    (tmp_path / "envs" / "boxes" / "runner.py").write_text("class Model:\n    better = True\n")
    after = made_catalog(tmp_path)
    assert [name for name in digests if after.runner_digest(name, name) != digests[name]] == ["boxes"]
    file = tmp_path / "envs" / "vision" / "pyproject.toml"
    file.write_text(file.read_text().replace("six==1.17.0", "six==1.16.0"))
    with pytest.raises(LockStale, match="make lock ENV=vision"):
        made_catalog(tmp_path).lock("boxes")


@pytest.mark.parametrize(
    ("host", "wrong", "says"),
    [
        ({}, {"interpreter": "visoin"}, r"interpreter: 'visoin' is no env.*known: 'env', 'base', 'other', 'vision'"),
        (
            {"interpreter": "base", "stage": "masks"},
            {},
            "interpreter: .vision. is no env with an interpreter of its own",
        ),
        ({}, {"dependencies": ("six",)}, r"project\.dependencies: must be empty.*pyproject\.toml of 'vision' has them"),
        ({}, {"python": ">=3.12"}, r"requires-python: must be '>=3\.11', as that of 'vision'"),
        ({"more": "colour = 1"}, {}, r"vision/pyproject\.toml: .*colour"),
    ],
)
def test_what_cannot_be_shared_is_said_and_costs_no_other_env(
    tmp_path: Path, host: dict[str, Any], wrong: dict[str, Any], says: str
) -> None:
    made_env(tmp_path, "other", stage="tracks")
    made_env(tmp_path, "vision", **host)
    made_env(tmp_path, "boxes", **{"interpreter": "vision", **wrong})
    with pytest.raises(BadDeclaration, match=says):
        made_catalog(tmp_path)
    catalog = Catalog.load(tmp_path / "envs", tmp_path / "locks", apart=True)
    assert "other" in catalog.names
    with pytest.raises(BadDeclaration, match=says):
        catalog.env("boxes")


def test_a_missing_lock_says_how_to_make_it(tmp_path: Path) -> None:
    made_env(tmp_path, "unlocked")
    with pytest.raises(LockMissing, match="make lock ENV=unlocked"):
        made_catalog(tmp_path).lock_digest("unlocked")


def test_a_lock_older_than_its_declaration_is_stale(tmp_path: Path) -> None:
    folder = made_env(tmp_path, "aged", dependencies=("six==1.16.0",))
    made_lock(tmp_path, "aged", [])
    assert made_catalog(tmp_path).packages("aged") == {}
    file = folder / "pyproject.toml"
    file.write_text(file.read_text().replace("1.16.0", "1.17.0"))
    with pytest.raises(LockStale, match="make lock ENV=aged"):
        made_catalog(tmp_path).lock_digest("aged")


def test_order_and_comments_of_dependencies_do_not_make_a_lock_stale(tmp_path: Path) -> None:
    folder = made_env(tmp_path, "tidy", dependencies=("six==1.17.0", "Typing_Extensions>=4"))
    before = made_catalog(tmp_path).lock_source("tidy")
    file = folder / "pyproject.toml"
    same = '[\n  "typing-extensions >= 4", # why\n  "six == 1.17.0",\n]'
    file.write_text(file.read_text().replace('["six==1.17.0", "Typing_Extensions>=4"]', same))
    assert made_catalog(tmp_path).lock_source("tidy") == before


def test_the_lock_digest_counts_packages_and_not_the_text(tmp_path: Path) -> None:
    made_env(tmp_path, "counted")
    one = made_wheel(tmp_path / "wheels", "tiny", "1.0", {"tiny.py": "X = 1\n"})
    two = made_wheel(tmp_path / "wheels", "tiny", "1.1", {"tiny.py": "X = 1\n"})
    lock = made_lock(tmp_path, "counted", [one])
    first = made_catalog(tmp_path).lock_digest("counted")
    assert made_catalog(tmp_path).packages("counted") == {"tiny": "1.0"}
    lock.write_text(f"# another comment\n\n{lock.read_text()}".replace('created-by = "test"', 'created-by = "other"'))
    assert made_catalog(tmp_path).lock_digest("counted") == first
    made_lock(tmp_path, "counted", [two])
    assert made_catalog(tmp_path).lock_digest("counted") != first
    altered = lock.read_text().replace("sha256 = '", "sha256 = '0", 1)
    lock.write_text(altered)
    with pytest.raises(LockEdited, match="changed by hand"):
        made_catalog(tmp_path).lock_digest("counted")
    sealed(lock)
    assert made_catalog(tmp_path).lock_digest("counted") != first


def test_the_runner_digest_counts_code_and_declared_files_only(tmp_path: Path) -> None:
    folder = made_env(tmp_path, "coded", more='files = ["robots/*.urdf"]')
    (folder / "robots").mkdir()
    (folder / "robots" / "hand.urdf").write_text("<robot/>")
    (folder / "unused.py").write_text("X = 1\n")
    (folder / "README.md").write_text("text")

    def digest() -> str:
        return made_catalog(tmp_path).runner_digest("clips", "coded")

    before = digest()
    (folder / "runner.py").write_text('"""A docstring."""\n\n# a comment\nclass Model:\n    """Another."""\n')
    (folder / "unused.py").write_text("X = 2\n")
    (folder / "README.md").write_text("other text")
    assert digest() == before
    (folder / "robots" / "hand.urdf").write_text("<robot name='x'/>")
    changed = digest()
    assert changed != before
    (folder / "runner.py").write_text("import unused\nclass Model:\n    pass\n")
    assert digest() != changed
    imported = digest()
    (folder / "unused.py").write_text("X = 3\n")
    assert digest() != imported


def test_what_only_some_runners_take_from_the_contract_counts_for_them_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "egoworld_runner"
    shutil.copytree(contract_folder(), package)
    monkeypatch.setattr("egoworld_resources.environments.catalog.contract_folder", lambda: package)
    plain, hands = (made_env(tmp_path, name) for name in ("plain", "hands"))
    (plain / "runner.py").write_text("from egoworld_runner import Runner, tables\nclass Model(Runner):\n    pass\n")
    (hands / "runner.py").write_text(
        "from egoworld_runner.hands import HandRunner\nclass Model(HandRunner):\n    pass\n"
    )
    catalog = made_catalog(tmp_path)

    def digests() -> list[str]:
        return [catalog.contract_digest(), *(catalog.runner_digest("clips", env) for env in ("plain", "hands"))]

    before = digests()
    judging = package / "hands" / "judging.py"
    judging.write_text(judging.read_text().replace("BRIEF_S = 0.2", "BRIEF_S = 0.3"))
    assert [new == old for new, old in zip(digests(), before, strict=True)] == [True, True, False]


def test_declared_files_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    made_env(tmp_path, "lacking", more='files = ["hand.urdf"]')
    with pytest.raises(BadDeclaration, match=r"files: 'hand\.urdf' matches no file"):
        made_catalog(tmp_path).runner_digest("clips", "lacking")


def test_the_contract_digest_is_that_of_the_runner_package(catalog: Catalog) -> None:
    assert catalog.contract_digest() == catalog.contract_digest()
    assert len(catalog.contract_digest()) == 64


def test_the_contract_digest_covers_what_decides_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    package = tmp_path / "egoworld_runner"
    shutil.copytree(contract_folder(), package)
    monkeypatch.setattr("egoworld_resources.environments.catalog.contract_folder", lambda: package)
    before = catalog.contract_digest()
    decides: set[str] = set()
    for file in sorted(package.glob("*.py")):
        text = file.read_text()
        file.write_text(text + "\nCHANGED = 1\n")
        if catalog.contract_digest() != before:
            decides.add(file.stem)
        file.write_text(text)
    assert decides >= {"video", "clip", "inputs", "tables", "writer", "runner"}
    assert not decides & {"keeper", "lifetime", "events", "job", "execute", "__main__"}
