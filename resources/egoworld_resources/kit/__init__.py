"""Air gap: everything that an installation needs, in one signed folder or tar; infra/AIRGAP.md says how it is used."""
