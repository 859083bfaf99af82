"""Taking a kit in, with the standard library alone: the same code installs a machine that has no egoworld yet."""
