"""One LeRobot v3.0 dataset over all videos: merged from their episodes, with a card, lineage and licences."""

from egoworld_resources.dataset import considered
from egoworld_resources.dataset.export import Exported, LicenceRefused, export
from egoworld_resources.dataset.lineage import LINEAGE, licence_changes
from egoworld_resources.dataset.merge import MergeReport, merge
from egoworld_resources.dataset.source import ArtifactLineage, EpisodeArtifact

__all__ = [
    "LINEAGE",
    "ArtifactLineage",
    "EpisodeArtifact",
    "Exported",
    "LicenceRefused",
    "MergeReport",
    "considered",
    "export",
    "licence_changes",
    "merge",
]
