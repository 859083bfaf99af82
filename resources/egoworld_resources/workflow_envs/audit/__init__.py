"""The audit of the env fabric: one append-only table, written before each side effect and after it."""

from egoworld_resources.workflow_envs.audit.audit import Operations
from egoworld_resources.workflow_envs.audit.entries import Began, Operation

__all__ = ["Began", "Operation", "Operations"]
