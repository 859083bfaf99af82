"""Faults of the machine: their causes, and the work that waits until they are gone."""
