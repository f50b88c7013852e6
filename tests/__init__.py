"""Tests of all components. A package, since a dependency of audiocraft installs a package `tests` of its own."""
