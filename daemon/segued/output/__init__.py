"""Output of commands: text, drawings and files."""
