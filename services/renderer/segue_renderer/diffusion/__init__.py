"""The renderer backend `diffusion`: ACE-Step 1.5 and Stable Audio 3 through the library diffusers."""
