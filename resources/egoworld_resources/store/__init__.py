"""Artifacts and their manifests, in a folder or in S3."""
