"""What is read over HTTP: metrics, and the files of artifacts."""
