"""The gateway: ComposerService, which writes requests into the store and reads streams out of it."""
