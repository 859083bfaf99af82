"""The parts of a server: found or built, configured, supervised, probed. `make up`, `make down`, `make ps`."""
