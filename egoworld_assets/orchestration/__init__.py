"""How a stage becomes a Dagster asset: partitions, runs, what a materialization says."""
