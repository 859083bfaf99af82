"""The fabric of envs over HTTP (seed 003): FastAPI over the library, bearer tokens, one shape of errors, a page."""
