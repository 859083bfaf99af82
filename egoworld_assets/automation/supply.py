"""The supply of models: which the bucket has, and whether those of this machine are whole."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from egoworld_assets.orchestration.weights_resource import WeightsResource
from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.layout import readable
from egoworld_resources.weights.repository import Model
from egoworld_resources.weights.verify import Difference

GROUP = "supply"
SHOWN = 100
"""Differences in the event log; the count is of all."""


class Wanted(dg.Config):
    """What a run of the supply does beyond looking."""

    fetch: list[str] = Field(default=[], description="Models to take in from the bucket of weights first.")
    quick: bool = Field(default=False, description="Compare names and sizes only, read no bytes.")


@dg.asset(group_name=GROUP, kinds={"s3"}, owners=["team:egoworld"])
def models_in_bucket(weights: WeightsResource) -> dg.MaterializeResult[Any]:
    """The models that the bucket of weights has; none where no bucket is configured."""
    names = weights.in_bucket()
    metadata = {"models": len(names), "names": ", ".join(names) or "none"}
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(digest(names)[:32]))


@dg.asset(
    group_name=GROUP,
    kinds={"safetensors"},
    owners=["team:egoworld"],
    deps=[models_in_bucket],
    pool="cpu",
    check_specs=[
        dg.AssetCheckSpec("models_are_whole", asset="models", description="Every byte is as its manifest says.")
    ],
)
def models(
    context: dg.AssetExecutionContext, config: Wanted, weights: WeightsResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """The models of this machine, each compared with its manifest; those that are wanted are fetched before.

    A model that is not whole fails the check with each file that is missing, damaged, extra or refused.
    """
    for name in config.fetch:
        context.log.info("%s is whole", weights.fetch(name))
    here = weights.models()
    wrong = {model.name: found for model in here if (found := weights.differences(model, quick=config.quick))}
    for name, found in wrong.items():
        context.log.error("%s is not whole:\n%s", name, "\n".join(map(str, found[:SHOWN])))
    manifests = [model.manifest.digest if model.manifest else model.fault for model in here]
    yield dg.MaterializeResult(
        metadata={
            "table": dg.MetadataValue.table([row(model, wrong.get(model.name, ())) for model in here], SCHEMA),
            "models": len(here),
            "bytes": sum(model.manifest.bytes for model in here if model.manifest),
            "not_whole": ", ".join(wrong) or "none",
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="models_are_whole",
                passed=not wrong,
                metadata={name: "\n".join(map(str, found[:SHOWN])) for name, found in wrong.items()},
            )
        ],
        data_version=dg.DataVersion(digest(manifests)[:32]),
    )


COLUMNS = {
    "model": "name of its folder below the model home",
    "files": "as its manifest has them",
    "gigabytes": "size of all files",
    "licences": "of its parts",
    "sources": "where its parts are from, with their commits",
    "differences": "files that are not as they should be; 0: it is whole",
}
NUMBERS = {"files": "int", "gigabytes": "float", "differences": "int"}
SCHEMA = dg.TableSchema([dg.TableColumn(name, NUMBERS.get(name, "string"), about) for name, about in COLUMNS.items()])


def row(model: Model, found: Sequence[Difference]) -> dg.TableRecord:
    """A row of COLUMNS."""
    parts = model.manifest.parts if model.manifest else ()
    return dg.TableRecord(
        {
            "model": model.name,
            "files": sum(len(part.files) for part in parts),
            "gigabytes": round((model.manifest.bytes if model.manifest else 0) / 1e9, 3),
            "licences": ", ".join(model.manifest.licences) if model.manifest else "",
            "sources": ", ".join(readable(f"{part.source} {part.revision}".strip()) for part in parts) or model.fault,
            "differences": len(found),
        }
    )
