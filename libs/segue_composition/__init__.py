"""What gateway and conductor share: log rows, the composition as a fold of its events, job kinds, peers, keys."""
