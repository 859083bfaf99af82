"""Declarations resolved into locks."""
