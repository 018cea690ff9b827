"""Lists of items of different lengths, end to end as in an Arrow column."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NONE = -1
"""In the place of an item: there is none."""


class PackedItems(NamedTuple):
    """A list of items per row, end to end: row i holds ``items[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    items: Ints

    def slots(self, rows: Ints) -> tuple[Ints, Ints]:
        """Every entry of some rows: its place among ``rows``, ascending, and its item."""
        starts = self.offsets[rows]
        counts = self.offsets[rows + 1] - starts
        firsts = np.cumsum(counts) - counts
        entries = np.repeat(starts - firsts, counts) + np.arange(counts.sum())
        return np.repeat(np.arange(len(rows)), counts), self.items[entries]

    def check(self, n_rows: int, n_items: int) -> None:
        """Raise ValueError unless there is a list for each row, of items from 0 to ``n_items - 1``."""
        if len(self.offsets) != n_rows + 1:
            raise ValueError(f"{n_rows} customers, but {len(self.offsets) - 1} lists of items")
        if len(self.items) and not 0 <= self.items.min() <= self.items.max() < n_items:
            raise ValueError(f"the lists must hold items from 0 to {n_items - 1}")

    def hold(self, items: Ints) -> NDArray[np.bool_]:
        """Whether each row's list holds the row's items, shape (n_rows, k); no list holds ``NONE``.

        >>> PackedItems(np.array([0, 1, 1]), np.array([4])).hold(np.array([[4, NONE], [4, 5]])).tolist()
        [[True, False], [False, False]]
        """
        rows, listed = self.slots(np.arange(len(items)))
        # One number per row and item; NONE takes the place before a row's first.
        span = 2 + max(items.max(initial=NONE), listed.max(initial=NONE))
        firsts = np.arange(len(items)) * span
        found: NDArray[np.bool_] = np.isin(firsts[:, None] + items, firsts[rows] + listed)
        return found
