"""Air gap: everything that an installation needs, in one signed folder or tar; infra/AIRGAP.md describes its use."""
