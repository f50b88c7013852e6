"""The bridge between lists of jobs in Redis and the service: takes jobs, measures their files, pushes results."""
