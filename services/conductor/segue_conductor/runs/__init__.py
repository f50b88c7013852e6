"""Runs: one for each kind of job. A run drives its job to its terminal event, whatever happens."""
