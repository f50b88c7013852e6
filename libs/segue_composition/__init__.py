"""Code shared by gateway and conductor: log rows, the state of a composition, job kinds, peers, artifact keys."""
