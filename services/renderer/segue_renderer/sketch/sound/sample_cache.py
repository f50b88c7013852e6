"""A cache of synthesised sounds, limited in bytes and shared by all sections."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from segue_audio.arrays import Float32

MAX_BYTES: Final = 128 << 20


class SampleCache:
    """Sounds by key, least recently used first out. A sound must depend on its key alone."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Float32] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Float32]) -> Float32:
        """Return the sound of a key, or make it; two threads may make the same sound at once."""
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
                return found
        made = make()
        made.setflags(write=False)
        with self._lock:
            if key not in self._found:
                self._found[key] = made
                self._bytes += made.nbytes
            while self._bytes > self._max_bytes and len(self._found) > 1:
                self._bytes -= self._found.popitem(last=False)[1].nbytes
        return made


SAMPLES: Final = SampleCache()
