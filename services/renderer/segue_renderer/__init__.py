"""The renderer: RendererService, its backends, and the checks that any renderer must pass."""
