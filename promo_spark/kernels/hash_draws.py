"""Random numbers that a key decides: the same for any order and partitioning of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def draw_uniform(keys: Ints, stream: int | Ints) -> Floats:
    """A number from 0 to 1 for each key, the same ever after; independent between streams.

    The mix is that of SplitMix64 (Steele, Lea and Flood, 2014).

    Args:
        keys: Hashes or numbers.
        stream: Which of the independent numbers of a key, from 0; of a shape that broadcasts with the keys'.

    >>> draw_uniform(np.array([7, 7]), 0).round(6).tolist()
    [0.38983, 0.38983]
    """
    streams = np.atleast_1d(np.asarray(stream)).astype(np.uint64)
    mixed: NDArray[np.uint64] = keys.view(np.uint64) + (streams + np.uint64(1)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    uniform: Floats = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform
