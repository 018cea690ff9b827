"""Resampling without a draw in sight: each cluster counts a Poisson number of times that its own hash decides.

However rows are spread over tasks, a cluster gets the same counts, and tasks add up.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Counts = NDArray[np.float64]

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS = np.uint64(11)
_SCALE = 2.0**-53
# P(at most k) of a Poisson distribution of mean 1; 20 is never passed in practice.
_CUMULATED = np.cumsum(np.exp(-1.0) / np.cumprod(np.concatenate([[1.0], np.arange(1.0, 20.0)])))


def poisson_counts(hashes: Ints, replicates: int) -> Counts:
    """How often each cluster counts in each replicate: independent, Poisson of mean 1.

    Args:
        hashes: One well-mixed number per cluster, a seed already in it, shape (n_clusters,).
        replicates: Number of resamples.

    Returns:
        Shape (n_clusters, replicates).

    Source: Chamandy, Muralidharan, Najmi and Naidu 2012; SplitMix64 (Steele, Lea and Flood 2014) turns hash and
    replicate into a uniform number. Complexity: O(n_clusters * replicates).

    >>> one = poisson_counts(np.array([7, 8]), 4)
    >>> bool((one[1] == poisson_counts(np.array([8]), 4)[0]).all())
    True
    """
    states = hashes.astype(np.uint64)[:, None] + _GOLDEN * np.arange(1, replicates + 1, dtype=np.uint64)
    mixed = (states ^ (states >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    mixed ^= mixed >> np.uint64(31)
    uniform = (mixed >> _BITS) * _SCALE
    counts: Counts = np.searchsorted(_CUMULATED, uniform, side="right").astype(np.float64)
    return counts
