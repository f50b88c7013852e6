"""The renderer: RendererService, its backends (`sketch`, `musicgen`, `diffusion`), and the checks that any renderer must pass."""
