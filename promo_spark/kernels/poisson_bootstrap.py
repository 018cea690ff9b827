"""Resampling without a draw in sight: each cluster counts a Poisson number of times that its own hash decides.

However rows are spread over tasks, a cluster gets the same counts, and tasks add up.
"""

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.hash_draws import draw_uniform

Ints = NDArray[np.int64]
Counts = NDArray[np.float64]

# P(at most k) of a Poisson distribution of mean 1; 20 is never passed in practice.
_CUMULATED = np.cumsum(np.exp(-1.0) / np.cumprod(np.concatenate([[1.0], np.arange(1.0, 20.0)])))


def poisson_counts(hashes: Ints, replicates: int) -> Counts:
    """How often each cluster counts in each replicate: independent, Poisson of mean 1.

    Args:
        hashes: One well-mixed number per cluster, a seed already in it, shape (n_clusters,).
        replicates: Number of resamples.

    Returns:
        Shape (n_clusters, replicates).

    Source: Chamandy, Muralidharan, Najmi and Naidu 2012. Complexity: O(n_clusters * replicates).

    >>> one = poisson_counts(np.array([7, 8]), 4)
    >>> bool((one[1] == poisson_counts(np.array([8]), 4)[0]).all())
    True
    """
    uniform = draw_uniform(hashes[:, None], np.arange(replicates))
    counts: Counts = np.searchsorted(_CUMULATED, uniform, side="right").astype(np.float64)
    return counts
