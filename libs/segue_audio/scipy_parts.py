"""Compiled modules of SciPy, each loaded alone.

The imports of their packages load most of SciPy: one second and 50 MB in every process.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any


def load_alone(name: str) -> Any | None:
    """Load a compiled module by its full name, without its packages; None when this SciPy has no such module."""
    package, *folders, _ = name.split(".")
    # `import scipy` itself takes as long as half of numpy.
    found = importlib.util.find_spec(package)
    paths = [str(Path(each, *folders)) for each in (found and found.submodule_search_locations) or ()]
    spec = importlib.machinery.PathFinder.find_spec(name, paths)
    if spec is None or spec.loader is None:
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module
