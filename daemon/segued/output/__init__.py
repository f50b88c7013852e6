"""What a command prints, draws and writes."""
