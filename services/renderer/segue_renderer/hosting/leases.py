"""The leases that a renderer knows from its assignments."""

from __future__ import annotations

import asyncio
from typing import Final

from segue_runtime import errors

WAIT_S: Final = 5.0
"""A section may come before its assignment, by as much as the two ways differ."""
MAX_LEASES: Final = 4096


class SectionLeases:
    """The sections that this renderer may render."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._changed = asyncio.Event()

    def clear(self) -> None:
        """Forget all leases: those of a former stream do not count."""
        self._known.clear()

    def add(self, lease: str, section_id: str, model: str) -> None:
        """Note an assignment."""
        while len(self._known) >= MAX_LEASES:
            del self._known[next(iter(self._known))]
        self._known[lease] = (section_id, model)
        self._changed.set()
        self._changed = asyncio.Event()

    def remove(self, lease: str) -> None:
        """Note a revocation."""
        self._known.pop(lease, None)

    async def check(self, lease: str, section_id: str, model: str) -> None:
        """Wait for the assignment of a section; LeaseUnknown if there is none."""
        try:
            async with asyncio.timeout(WAIT_S if lease else 0):
                while lease not in self._known:
                    await self._changed.wait()
        except TimeoutError as error:
            raise errors.LeaseUnknown("this renderer has no assignment with the lease of this section") from error
        if self._known[lease] != (section_id, model):
            raise errors.LeaseUnknown("the lease of this section is for another section or model")
