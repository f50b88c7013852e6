"""The kinds of jobs that gateway and conductor exchange through the store."""

from typing import Final

COMPOSITION: Final = "composition"
ANALYSIS: Final = "analysis"
MASTERING: Final = "mastering"
"""A composition without plan: its draft is a file that a caller sent."""

ALL: Final = (COMPOSITION, ANALYSIS, MASTERING)
