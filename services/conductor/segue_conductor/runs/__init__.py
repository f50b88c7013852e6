"""One run for each kind of job: composition, mastering, analysis."""
