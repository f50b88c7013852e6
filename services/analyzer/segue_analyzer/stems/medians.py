"""Medians of arrays, value by value, by a sorting network: it compares whole arrays, and sorts no short rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_audio.arrays import Float32


def median_network(size: int) -> list[tuple[int, int]]:
    """Return the comparisons of Batcher's merge exchange that the median of `size` values needs."""
    needed = {size // 2}
    kept: list[tuple[int, int]] = []
    for low, high in reversed(list(_merge_exchange(size))):
        if low in needed or high in needed:
            kept.append((low, high))
            needed |= {low, high}
    return kept[::-1]


def _merge_exchange(size: int) -> Iterator[tuple[int, int]]:
    """Yield the comparisons that sort `size` values (Knuth, volume 3, algorithm 5.2.2M)."""
    run = 1
    while run < size:
        step = run
        while step >= 1:
            for start in range(step % run, size - step, 2 * step):
                for place in range(start, min(start + step, size - step)):
                    if place // (2 * run) == (place + step) // (2 * run):
                        yield place, place + step
            step //= 2
        run *= 2


def median(rows: Sequence[Float32], network: Sequence[tuple[int, int]]) -> Float32:
    """Return the median of equally shaped arrays, value by value; `network` is that of their number."""
    sorted_rows = [row.copy() for row in rows]
    lower = np.empty_like(sorted_rows[0])
    for low, high in network:
        np.minimum(sorted_rows[low], sorted_rows[high], out=lower)
        np.maximum(sorted_rows[low], sorted_rows[high], out=sorted_rows[high])
        sorted_rows[low], lower = lower, sorted_rows[low]
    return sorted_rows[len(rows) // 2]
