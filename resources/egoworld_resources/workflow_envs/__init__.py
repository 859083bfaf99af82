"""The environment fabric as a library: envs of workflows, each with its lock, its history and its bounds."""
