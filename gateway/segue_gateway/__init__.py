"""ComposerService and the conductor."""
