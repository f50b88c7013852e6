"""Sections become takes: calls to renderers, retries, and the store of takes."""
