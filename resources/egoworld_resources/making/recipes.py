"""How an env would serve a stage now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from egoworld_resources.artifacts.manifest import Recipe, named_files
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.locking.lockfile import lowest_python
from egoworld_resources.errors import UnknownName


def recipe_of(catalog: Catalog, contract: str, stage: str, env: str, given: Mapping[str, Any]) -> Recipe:
    """The recipe with some parameters over its model's own. contract: digest of the runner contract.

    Raises UnknownName for an env or parameter that does not exist.
    """
    model = catalog.model(stage, env)
    for name in given:
        if name not in model.params:
            raise UnknownName(f"parameter of {stage} ({env})", name, model.params)
    params, lock = {**model.params, **given}, catalog.lock(env)
    return Recipe(
        stage=stage,
        env=env,
        model=model.runner,
        label=model.label,
        runner=catalog.runner_digest(stage, env),
        contract=contract,
        lock=lock.digest,
        packages=lock.packages(lowest_python(catalog.env(env).python)),
        weights={w.name: w.digest for w in model.weights},
        params=params,
        files=named_files(params),
        device=model.device,
        licence=model.licence,
        outputs=model.outputs,
        weights_licences={w.name: w.licence for w in model.weights},
    )
