"""The kinds of jobs that gateway and conductor exchange through the store."""

from typing import Final

COMPOSITION: Final = "composition"
ANALYSIS: Final = "analysis"
