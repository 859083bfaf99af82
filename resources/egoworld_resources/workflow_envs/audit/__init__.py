"""The audit of the env fabric: one append-only table, written before each side effect and after it."""

from egoworld_resources.environments.fabric.operations.audit import Operations
from egoworld_resources.environments.fabric.operations.entries import Began, Operation

__all__ = ["Began", "Operation", "Operations"]
