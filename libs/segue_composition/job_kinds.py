"""The kinds of jobs that gateway and conductor exchange through the store."""

from typing import Final

COMPOSITION: Final = "composition"
ANALYSIS: Final = "analysis"
MASTERING: Final = "mastering"
"""A composition without a plan: its draft is an uploaded file."""

SEPARATION: Final = "separation"

ALL: Final = (COMPOSITION, ANALYSIS, MASTERING, SEPARATION)
