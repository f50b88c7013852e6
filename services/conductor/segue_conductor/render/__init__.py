"""Rendering: each section becomes a take, by calls to renderers, with retries, and a store of takes."""
