"""The conda backend: envs of packages that PyPI lacks, solved and linked by py-rattler."""
