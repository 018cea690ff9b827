"""Clusters of points by several methods, and the one rule by which all of them place a point.

Whatever found them, clusters are components: a centre, the cluster that owns it, and how costly it is to be away
from it. K-means and bisecting k-means have one component a cluster and count squared distances; a mixture adds a
precision matrix and an offset, so that the cost is −2 log density; density-based clusters, of any shape, have a
component for every dozen of neighbouring core points. Fits are for a bounded sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from sklearn.cluster import HDBSCAN, BisectingKMeans, KMeans
from sklearn.mixture import GaussianMixture

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RESTARTS = 10
_ITERATIONS = 300
_MIXTURE_RESTARTS = 3
# No component is narrower than a tenth of a standard deviation: columns that go together in it, or are the same for
# all of it, would make its density infinite.
_LEAST_VARIANCE = 0.01
_CORE_NEIGHBOURS = 5
# No group is smaller, and cores are kept as means of at least so many: the model then holds no single customer.
_CORE_GROUP = 10
_TILE = 1 << 20
_NOISE = -1


@dataclass(frozen=True, eq=False)
class Clusters:
    """Where clusters lie; a point belongs to the owner of the component that costs it least.

    The cost of component j at x is ``offsets[j] + (x − c)ᵀ P (x − c)``, with P the identity where there are no
    precisions.

    Attributes:
        centres: Shape (components, dimensions).
        owners: Cluster of each component, 0 to count - 1, each at least once, shape (components,).
        offsets: Shape (components,).
        precisions: Shape (components, dimensions, dimensions), or (0, dimensions, dimensions) for none.
        noise_rate: Share of the points fitted on that the method left out of every cluster.
    """

    centres: Floats
    owners: Ints
    offsets: Floats
    precisions: Floats
    noise_rate: float = 0.0

    @classmethod
    def around(cls, centres: Floats, owners: Ints | None = None, *, noise_rate: float = 0.0) -> Clusters:
        """Clusters of what is nearest to centres; without owners each centre is a cluster."""
        count, dimensions = centres.shape
        own = np.arange(count) if owners is None else owners
        return cls(centres, own, np.zeros(count), np.empty((0, dimensions, dimensions)), noise_rate)

    @property
    def count(self) -> int:
        """Clusters."""
        return int(self.owners.max()) + 1

    def middles(self) -> Floats:
        """The middle of each cluster: the mean of its components' centres, shape (count, dimensions)."""
        return np.array([self.centres[self.owners == cluster].mean(axis=0) for cluster in range(self.count)])

    def place(self, points: Floats) -> tuple[Ints, Floats]:
        """Find each point's cluster.

        Every cost is summed on its own, so that a point's place does not depend on the points beside it.

        Args:
            points: Shape (n_points, dimensions).

        Returns:
            Cluster, and the distance to the centre of the component chosen; each of shape (n_points,). Equal costs
            go to the component that comes first.

        Complexity: O(n_points × components × dimensions), squared dimensions with precisions; memory O(tile).

        >>> Clusters.around(np.array([[0.0], [4.0]])).place(np.array([[1.0], [2.0], [7.0]]))
        (array([0, 0, 1]), array([1., 2., 3.]))
        """
        labels, distances = np.zeros(len(points), dtype=np.int64), np.zeros(len(points))
        step = max(1, _TILE // len(self.centres))
        for first in range(0, len(points) if points.shape[1] else 0, step):
            some = points[first : first + step]
            best = self._costs(some).argmin(axis=1)
            labels[first : first + step] = self.owners[best]
            distances[first : first + step] = np.sqrt(((some - self.centres[best]) ** 2).sum(axis=1))
        return labels, distances

    def renumbered(self, order: Iterable[int]) -> Clusters:
        """The clusters that are named, in that order; the others' components are left out."""
        kept = [(place, number) for number, old in enumerate(order) for place in np.flatnonzero(self.owners == old)]
        places = [place for place, _ in kept]
        precisions = self.precisions[places] if len(self.precisions) else self.precisions
        owners = np.array([number for _, number in kept], dtype=np.int64)
        return Clusters(self.centres[places], owners, self.offsets[places], precisions, self.noise_rate)

    def _costs(self, points: Floats) -> Floats:
        if not len(self.precisions):
            return np.asarray(cdist(points, self.centres, "sqeuclidean") + self.offsets)
        pairs = zip(self.centres, self.precisions, strict=True)
        distances = [cdist(points, centre[None], "mahalanobis", VI=precision)[:, 0] for centre, precision in pairs]
        return np.column_stack(distances) ** 2 + self.offsets


def fit_clusters(method: str, points: Floats, count: int, *, least_rate: float, seed: int) -> Clusters:
    """Find clusters by one method.

    Args:
        method: One of ``METHODS``.
        points: At least two different ones, shape (n_points, dimensions). Their order matters to where a method starts.
        count: Clusters to find; for a method that finds their number itself the most there may be.
        least_rate: Share of the points below which a dense group is no cluster.
        seed: Seed of the starts.

    Returns:
        Clusters that hold at least one of the points each: possibly fewer than asked for.
    """
    clusters = METHODS[method](points, count, least_rate, seed % 2**32)
    held = np.unique(clusters.place(points)[0])
    return clusters if len(held) == clusters.count else clusters.renumbered(held.tolist())


def _k_means(points: Floats, count: int, _: float, seed: int) -> Clusters:
    """The best of many starts (Lloyd 1982; starts by Arthur and Vassilvitskii 2007)."""
    model = KMeans(count, n_init=_RESTARTS, max_iter=_ITERATIONS, random_state=seed)
    return Clusters.around(model.fit(points).cluster_centers_)


def _bisecting_k_means(points: Floats, count: int, _: float, seed: int) -> Clusters:
    """The cluster of largest inertia is split in two until there are enough (Steinbach, Karypis and Kumar 2000)."""
    model = BisectingKMeans(count, n_init=_RESTARTS, max_iter=_ITERATIONS, random_state=seed)
    return Clusters.around(model.fit(points).cluster_centers_)


def _gaussian_mixture(points: Floats, count: int, _: float, seed: int) -> Clusters:
    """Normal components of any shape, by expectation maximisation (Dempster, Laird and Rubin 1977)."""
    model = GaussianMixture(
        count, reg_covar=_LEAST_VARIANCE, n_init=_MIXTURE_RESTARTS, max_iter=_ITERATIONS, random_state=seed
    ).fit(points)
    # The square root of a determinant is the product of its triangle's diagonal.
    roots = np.log(np.diagonal(model.precisions_cholesky_, axis1=1, axis2=2)).sum(axis=1)
    return Clusters(model.means_, np.arange(count), -2 * (np.log(model.weights_) + roots), model.precisions_)


def _hdbscan(points: Floats, most: int, least_rate: float, _: int) -> Clusters:
    """Dense groups of any shape (Campello, Moulavi and Sander 2013), then the nearest core points for all others.

    Groups must be twice as large for as long as there are more than wanted. Points in no group are noise; where all
    are, there is one cluster. All points of a sample count alike: it is drawn with equal chances.
    """
    size = max(_CORE_GROUP, ceil(least_rate * len(points)))
    while True:
        model = HDBSCAN(min_cluster_size=size, min_samples=min(_CORE_NEIGHBOURS, len(points)), copy=True)
        labels = model.fit(points).labels_
        if labels.max() < most:
            break
        size *= 2
    noise_rate = float((labels == _NOISE).mean())
    if noise_rate == 1.0:
        return Clusters.around(points.mean(axis=0, keepdims=True), noise_rate=noise_rate)
    cores = [_group_means(points[labels == cluster]) for cluster in range(labels.max() + 1)]
    owners = np.repeat(np.arange(len(cores)), [len(means) for means in cores])
    return Clusters.around(np.concatenate(cores), owners, noise_rate=noise_rate)


def _group_means(points: Floats) -> Floats:
    """Means of groups of 10 to 19 points that lie together, the leaves of a k-d tree; of all where there are fewer."""
    if len(points) < 2 * _CORE_GROUP:
        return np.asarray(points.mean(axis=0, keepdims=True))
    along = points[:, points.std(axis=0).argmax()].argsort(kind="stable")
    halves = along[: len(along) // 2], along[len(along) // 2 :]
    return np.concatenate([_group_means(points[half]) for half in halves])


METHODS: Mapping[str, Callable[[Floats, int, float, int], Clusters]] = {
    "k_means": _k_means,
    "bisecting_k_means": _bisecting_k_means,
    "gaussian_mixture": _gaussian_mixture,
    "hdbscan": _hdbscan,
}
FINDS_THE_NUMBER, MOVES_ON = "hdbscan", "k_means"
"""Methods that find the number of clusters themselves, and whose means may be moved on over all customers."""
