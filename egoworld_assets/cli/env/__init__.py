"""`egoworld env`: model envs, envs of workflows, and their policy."""
