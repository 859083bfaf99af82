"""One module per revision, never changed once it is in use."""
