"""The models below the model home: which there are, whether each is whole, and which envs use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.weights.manifest import MANIFEST, MODEL, ModelManifest


@dataclass(frozen=True)
class Model:
    """One folder below the model home. fault: why its manifest cannot be used; empty when it can."""

    name: str
    folder: Path
    manifest: ModelManifest | None
    fault: str = ""


def models_in(home: Path) -> list[Model]:
    """Every model below the model home, by name, also those without a usable manifest."""
    if not home.is_dir():
        return []
    return [_model(entry) for entry in sorted(home.iterdir()) if MODEL.fullmatch(entry.name) and entry.is_dir()]


def model_named(home: Path, name: str) -> Model:
    """One model; raises UnknownName with those that are there."""
    models = {model.name: model for model in models_in(home)}
    if name not in models:
        raise UnknownName("model", name, models)
    return models[name]


def users_of(models: Sequence[Model], catalog: Catalog) -> Mapping[str, list[str]]:
    """By model, "env (stage)" of all that load a file of its folder or of its digests."""
    return {model.name: sorted(_users(model, catalog)) for model in models}


def _users(model: Model, catalog: Catalog) -> Iterable[str]:
    digests = {file.sha256 for file in model.manifest.files()} if model.manifest else set[str]()
    for env in map(catalog.env, catalog.names):
        for stage in env.stages.values():
            wanted = [weights for weights in stage.weights if weights.package is None]
            if any(one.sha256 in digests or one.path.split("/")[0] == model.name for one in wanted):
                yield f"{env.name} ({stage.stage})"


def _model(folder: Path) -> Model:
    if not (folder / MANIFEST).is_file():
        return Model(folder.name, folder, None, f"no {MANIFEST}")
    try:
        return Model(folder.name, folder, ModelManifest.read(folder))
    except BadConfiguration as error:
        return Model(folder.name, folder, None, str(error))
