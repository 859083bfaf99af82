"""The environment fabric: declarations, locks and the builder of model envs."""
