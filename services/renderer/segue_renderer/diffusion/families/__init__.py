"""The families of diffusion models: their pipelines around the networks of the library diffusers."""
