"""Programs that we start: what they get of our environment, and what they print without secrets."""
