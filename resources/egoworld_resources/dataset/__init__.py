"""One LeRobot v3.0 dataset over all videos: merged from their episodes, with a card, lineage and licences."""

from egoworld_resources.dataset import considered
from egoworld_resources.dataset.export import LicenceRefused, export
from egoworld_resources.dataset.licences import Terms, terms
from egoworld_resources.dataset.merge import MergeReport, merge
from egoworld_resources.dataset.source import ArtifactLineage, EpisodeArtifact

__all__ = [
    "ArtifactLineage",
    "EpisodeArtifact",
    "LicenceRefused",
    "MergeReport",
    "Terms",
    "considered",
    "export",
    "merge",
    "terms",
]
