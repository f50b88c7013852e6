"""The conductor: drives one composition through planner, renderers, mixer and analyzer, and survives being killed."""
