"""Genre profiles and form templates, read from TOML tables."""
