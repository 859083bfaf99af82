"""The fabric of envs over HTTP: FastAPI over the library, bearer tokens, one shape of errors, a page."""
