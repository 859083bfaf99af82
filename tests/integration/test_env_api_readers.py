"""Who looks at an env while it is removed sees it whole, or is told that it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.building.venv import Building
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.workflow_envs.errors import EnvNotFound
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.uv_backend import UvBackend
from made_fabric import KEY, TESTER, made_config, made_fabric


class Vanishing(UvBackend):
    """Its envs do something else just before they are looked at, once."""

    meanwhile: Callable[[], object] | None = None

    def stamp(self, generation: Path) -> str:
        self._happen()
        return super().stamp(generation)

    def damaged(self, generation: Path) -> list[str]:
        self._happen()
        return super().damaged(generation)

    def _happen(self) -> None:
        happening, self.meanwhile = self.meanwhile, None
        if happening:
            happening()


@pytest.fixture
def backend(tmp_path: Path, uv: Path) -> Vanishing:
    return Vanishing(Building(Uv(uv, made_config(tmp_path).uv_cache_dir)), Policy.model_validate({}))


@pytest.fixture
def fabric(tmp_path: Path, uv: Path, backend: Vanishing) -> Fabric:
    made = made_fabric(tmp_path, uv, more={"uv": backend})
    made.create(KEY, TESTER)
    return made


@pytest.mark.parametrize("look", ["get", "verify"])
def test_an_env_that_vanishes_is_not_found(fabric: Fabric, backend: Vanishing, look: str) -> None:
    backend.meanwhile = lambda: fabric.places.remove(KEY)
    with pytest.raises(EnvNotFound):
        getattr(fabric, look)(KEY)


@pytest.mark.parametrize("look", ["get", "verify"])
def test_an_env_that_is_made_anew_meanwhile_is_the_new_one(fabric: Fabric, backend: Vanishing, look: str) -> None:
    before = fabric.get(KEY)

    def remade() -> None:
        fabric.places.remove(KEY)
        fabric.create(KEY, TESTER)

    backend.meanwhile = remade
    found = getattr(fabric, look)(KEY)
    assert found.status == "ready"
    assert found.generation != before.generation


@pytest.mark.parametrize("look", ["get", "list"])
def test_an_env_that_vanishes_before_it_is_read_is_not_found(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    read, places = Ready.read, fabric.places

    def read_later(generation: Path) -> Ready | None:
        if places.folder(KEY).is_dir():
            places.remove(KEY)
        return read(generation)

    monkeypatch.setattr(Ready, "read", staticmethod(read_later))
    if look == "list":
        assert fabric.list() == []
    else:
        with pytest.raises(EnvNotFound):
            fabric.get(KEY)
