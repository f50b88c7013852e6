//! The `segue` command as people meet it: exit code, standard output, standard error.
