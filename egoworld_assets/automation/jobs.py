"""The jobs: everything of one video, the merge of the dataset, and the supply of models."""

import dagster as dg

GROUP = dg.AssetSelection.groups("video_to_dataset")
FLOW = dg.define_asset_job("flow", selection=GROUP, description="Everything that is made of one video.")
DATASET = dg.define_asset_job(
    "merge_dataset", selection=dg.AssetSelection.assets("dataset"), description="One dataset over all videos."
)
SUPPLY = dg.define_asset_job(
    "supply_of_models",
    selection=dg.AssetSelection.groups("supply"),
    description="Which models the bucket has, and whether those of this machine are whole.",
)
