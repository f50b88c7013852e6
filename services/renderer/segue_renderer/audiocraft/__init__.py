"""The backend `audiocraft`: models of the package of that name, in an environment of its own."""
