"""The asset of the merged dataset."""

from typing import Any

import dagster as dg

from egoworld_assets.dataset import merge_usable
from egoworld_assets.episodes import STAGE as EPISODES
from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.dataset.lineage import LINEAGE
from egoworld_resources.making.workbench import Workbench


@dg.asset(deps=[EPISODES.name], group_name="dataset", kinds={"lerobot"}, owners=["team:egoworld"], pool="cpu")
def dataset(context: dg.AssetExecutionContext, bench: dg.ResourceParam[Workbench]) -> dg.MaterializeResult[Any]:
    """One LeRobot v3.0 dataset over all videos that pass their checks; unchanged videos are not copied again."""
    report = merge_usable(bench)
    for video, why in report.refused.items():
        context.log.warning("%s is not in the dataset: %s", video, why)
    if not report.written:
        raise dg.Failure("no video has usable episodes; see `egoworld status`", allow_retries=False)
    target = bench.layout.dataset
    return dg.MaterializeResult(
        metadata={
            "videos": len(report.videos),
            "episodes": report.episodes,
            "frames": report.frames,
            "files_linked": report.linked,
            "files_rewritten": report.rewritten,
            "commercial": report.commercial,
            "licences": ", ".join(licence or "unknown" for licence in report.licences),
            "code_licences": ", ".join(report.code_licences),
            "refused": dg.MetadataValue.json(dict(report.refused)),
            "folder": dg.MetadataValue.path(str(target)),
        },
        data_version=dg.DataVersion(file_digest(target / LINEAGE)[:32]),
    )
