"""The jobs: everything of one video, and the merge of the dataset."""

import dagster as dg

GROUP = dg.AssetSelection.groups("video_to_dataset")
FLOW = dg.define_asset_job("flow", selection=GROUP, description="Everything that is made of one video.")
DATASET = dg.define_asset_job(
    "merge_dataset", selection=dg.AssetSelection.assets("dataset"), description="One dataset over all videos."
)
