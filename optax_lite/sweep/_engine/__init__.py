"""Train a population: chunks of runs, their data, their log and their checkpoints."""
