"""How the audit's table came to be: alembic's revisions, carried inside the package."""
