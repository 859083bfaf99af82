"""What people say about single videos, as artifacts: kept by version, input of the stages that declare it."""
