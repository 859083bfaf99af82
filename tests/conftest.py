"""What all tests share: the checkout, the shared test data, uv, and a clean configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.checkout import checkout_catalog, checkout_uv
from tests.alembic_once import read_migrations_once

pytest_plugins = [
    "servers",  # real Postgres and S3 servers: fixtures minio, versitygw, postgres_server
    "attack_table",  # what `make attack` prints
    "workers",  # which tests go to the same worker
    "machines",  # users and kernels by which code is run: fixtures code_folder, machine
]

if TYPE_CHECKING:
    from tests.made_clips import Ran

read_migrations_once()
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _no_outer_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration of the user who runs the tests does not reach them."""
    for name in [name for name in os.environ if name.startswith(("EGOWORLD_", "S3_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout under test."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos, images and robot models beside the checkout. Missing is a skip at home and a failure in CI."""
    folder = REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if os.environ.get("CI") in ("1", "true"):
        pytest.fail(f"CI needs the test data at {folder}")
    pytest.skip(f"no test data at {folder}")


@pytest.fixture(scope="session")
def uv() -> Path:
    """The uv that `make setup` fetched."""
    return checkout_uv(REPOSITORY).program


@pytest.fixture(scope="session")
def uv_cache() -> Path:
    """The cache that `make` uses."""
    return checkout_uv(REPOSITORY).cache


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The model envs of the checkout and of its tests."""
    return checkout_catalog(REPOSITORY)


@pytest.fixture(scope="session")
def builder(catalog: Catalog, uv: Path, uv_cache: Path) -> EnvBuilder:
    """Makes the model envs of the checkout, where `make test` made them: ``builder.ensure("mediapipe").python``."""
    return EnvBuilder(REPOSITORY / "data" / "envs", catalog, uv, uv_cache)


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated sample of two short shots, small enough for the real models; its truth lies beside it."""
    from tests.accuracy.everything import SHORT
    from tests.accuracy.sample_flow import rendered

    return rendered(tmp_path_factory.mktemp("sample"), SHORT)


@pytest.fixture(scope="session")
def real_hands(
    builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """What MediaPipe finds in real pictures whose joints a person has read off, all clips in one process."""
    from tests.accuracy import hands_by_eye

    return hands_by_eye.run(builder, catalog, shared_data, tmp_path_factory.mktemp("hands"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the shared data is marked so: `pytest -m "not data"` leaves it out."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)
