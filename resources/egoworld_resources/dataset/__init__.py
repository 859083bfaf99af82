"""One LeRobot v3.0 dataset over all videos: merged from their episodes, with a card, lineage and licences."""
