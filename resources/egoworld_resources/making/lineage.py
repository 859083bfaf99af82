"""What an artifact was made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.rights.source_videos import rights_of


def lineage_of(bench: Workbench, made: Manifest) -> dict[str, Any]:
    """An artifact with all that it was made from, down to the bytes of the video, and what bears on it today."""
    recipe = made.recipe
    node: dict[str, Any] = {
        "asset": made.asset,
        "video": made.video,
        "data_version": made.data_version,
        "fingerprint": made.fingerprint,
        "made_at": made.made_at,
        "run_id": made.run_id,
        "env": recipe.env,
        "model": recipe.model,
        "label": recipe.label,
        "runner": recipe.runner,
        "contract": recipe.contract,
        "lock": recipe.lock,
        "weights": dict(recipe.weights),
        "params": dict(recipe.params),
        "licences": [bearing.as_json() for bearing in bench.licences.bearing_on(made)],
        "inputs": [],
        **{name: made.source[name] for name in ("said_by", "said_in") if name in made.source},
    }
    for asset, version in made.inputs.items():
        if asset == SOURCE:
            rights = rights_of(bench.store, bench.settings.rights, made.video, made.source["sha256"])
            judged = bench.licences.of_rights(rights, made.video).as_json()
            node["inputs"].append({"asset": SOURCE, **made.source, "rights": {**asdict(rights), **judged}})
        elif version is None:
            node["inputs"].append({"asset": asset, "data_version": None})
        else:
            up = bench.store.version(asset, made.video, version)
            gone = {"asset": asset, "data_version": version, "note": "this version is no longer in the store"}
            node["inputs"].append(lineage_of(bench, up) if up else gone)
    return node
