"""Keys of the artifacts that gateway and conductor both read."""


def artifact_key(name: str) -> str:
    """Return the key of an output's or a finished upload's bytes."""
    return f"{name}/content" if name.startswith("uploads/") else name
