"""The renderer: RendererService, its backends (`sketch`, `musicgen`), and the checks that any renderer must pass."""
