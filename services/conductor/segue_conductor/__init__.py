"""The conductor: claims jobs from the store and drives each through planner, renderers, mixer and analyzer."""
