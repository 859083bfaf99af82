"""Envs made from their locks, and proven to be what their locks say."""
