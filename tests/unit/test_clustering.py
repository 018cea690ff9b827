"""Clusters by four methods: recovery of known groups, placing by brute force, and odd points."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from promo_spark.kernels.clustering import METHODS, Clusters, fit_clusters


def fit(method: str, points: np.ndarray, count: int, least_rate: float = 0.02) -> Clusters:
    return fit_clusters(method, points, count, least_rate=least_rate, seed=3)


@pytest.fixture
def mixture() -> Clusters:
    rng = np.random.default_rng(2)
    roots = rng.normal(size=(3, 4, 4))
    precisions = np.linalg.inv(roots @ roots.transpose(0, 2, 1) + np.eye(4))
    return Clusters(rng.normal(size=(3, 4)) * 2, np.arange(3), rng.normal(size=3), precisions)


class TestPlace:
    def test_the_nearest_centre_by_brute_force(self) -> None:
        rng = np.random.default_rng(1)
        points, centres, owners = rng.normal(size=(500, 3)), rng.normal(size=(7, 3)), np.array([0, 0, 1, 2, 1, 0, 2])
        labels, distances = Clusters.around(centres, owners).place(points)
        gaps = np.linalg.norm(points[:, None] - centres[None], axis=2)
        assert labels.tolist() == owners[gaps.argmin(axis=1)].tolist()
        assert np.allclose(distances, gaps.min(axis=1))

    def test_a_mixture_places_by_log_density(self, mixture: Clusters) -> None:
        points = np.random.default_rng(3).normal(size=(300, 4)) * 3
        # offset = -2 log weight - log det precision, up to a constant that all components share.
        densities = [
            np.exp(-(offset + np.linalg.slogdet(precision)[1]) / 2)
            * multivariate_normal(centre, np.linalg.inv(precision)).pdf(points)
            for centre, offset, precision in zip(mixture.centres, mixture.offsets, mixture.precisions, strict=True)
        ]
        labels, distances = mixture.place(points)
        assert labels.tolist() == np.argmax(densities, axis=0).tolist()
        assert np.allclose(distances, np.linalg.norm(points - mixture.centres[labels], axis=1))

    def test_a_point_is_placed_alike_whatever_comes_with_it(self, mixture: Clusters) -> None:
        points = np.random.default_rng(4).normal(size=(60, 4))
        for clusters in (mixture, Clusters.around(mixture.centres)):
            together = clusters.place(points)
            alone = [clusters.place(point[None]) for point in points]
            assert together[0].tolist() == [int(labels[0]) for labels, _ in alone]
            assert together[1].tolist() == [float(distances[0]) for _, distances in alone]

    def test_more_points_than_a_tile_holds(self) -> None:
        centres = np.linspace(0, 1, 1 << 12)[:, None]
        points = np.random.default_rng(5).random((700, 1))
        labels, _ = Clusters.around(centres).place(points)
        assert np.array_equal(labels, np.rint(points[:, 0] * (len(centres) - 1)))

    def test_a_tie_goes_to_the_component_that_comes_first(self) -> None:
        assert Clusters.around(np.array([[2.0], [0.0], [2.0]])).place(np.array([[1.0], [2.0]]))[0].tolist() == [0, 0]

    def test_no_points_and_no_dimensions(self) -> None:
        nothing = Clusters.around(np.zeros((1, 2))).place(np.empty((0, 2)))
        assert [len(part) for part in nothing] == [0, 0]
        assert [part.tolist() for part in Clusters.around(np.empty((1, 0))).place(np.empty((2, 0)))] == [[0, 0], [0, 0]]

    def test_renumbered_clusters_keep_what_they_hold(self, mixture: Clusters) -> None:
        points = np.random.default_rng(6).normal(size=(200, 4)) * 3
        before, after = mixture.place(points)[0], mixture.renumbered([2, 0, 1]).place(points)[0]
        assert np.array_equal(np.array([2, 0, 1])[after], before)
        assert mixture.renumbered([1]).count == 1


def ellipses() -> tuple[np.ndarray, np.ndarray]:
    """Two long narrow clouds side by side, of 300 and 100: cut across by anything that looks for round ones."""
    rng = np.random.default_rng(7)
    clouds = [rng.normal(size=(size, 2)) * [8.0, 0.5] + [0.0, place] for size, place in ((300, 0.0), (100, 4.0))]
    return np.concatenate(clouds), np.repeat([0, 1], [300, 100])


class TestRecovery:
    @pytest.mark.parametrize("method", METHODS)
    def test_groups_that_lie_apart_are_found_by_all(self, method: str) -> None:
        rng = np.random.default_rng(8)
        points = np.concatenate([rng.normal(centre, 0.4, (80, 3)) for centre in ([0, 0, 0], [6, 0, 0], [0, 7, 3])])
        clusters = fit(method, points, 3)
        assert adjusted_rand_score(np.repeat([0, 1, 2], 80), clusters.place(points)[0]) == 1.0

    def test_a_mixture_finds_long_groups_their_weights_and_shapes(self) -> None:
        points, truth = ellipses()
        clusters = fit("gaussian_mixture", points, 2)
        assert adjusted_rand_score(truth, clusters.place(points)[0]) == 1.0
        assert adjusted_rand_score(truth, fit("k_means", points, 2).place(points)[0]) < 0.2
        spread = np.linalg.inv(clusters.precisions)
        assert np.allclose(np.sqrt(spread[:, 0, 0]), 8.0, rtol=0.15)
        assert np.allclose(np.sqrt(spread[:, 1, 1]), 0.5, rtol=0.15)

    def test_a_mixture_places_as_scikit_learn_does(self) -> None:
        points = np.random.default_rng(9).normal(size=(400, 3)) * [1, 2, 3]
        oracle = GaussianMixture(3, reg_covar=0.01, n_init=3, max_iter=300, random_state=3).fit(points)
        assert np.array_equal(fit("gaussian_mixture", points, 3).place(points)[0], oracle.predict(points))

    def test_density_finds_moons_and_gives_what_lies_outside_to_the_nearest(self) -> None:
        moons, truth = make_moons(1000, noise=0.06, random_state=10)
        outside = np.array([[-2.0, 2.0], [3.0, -1.5]])
        clusters = fit("hdbscan", np.concatenate([moons, outside]), 5)
        labels, distances = clusters.place(np.concatenate([moons, outside]))
        assert adjusted_rand_score(truth, labels[:-2]) > 0.97
        assert adjusted_rand_score(truth, fit("k_means", moons, 2).place(moons)[0]) < 0.4
        assert labels[-2:].tolist() == [labels[np.linalg.norm(moons - point, axis=1).argmin()] for point in outside]
        assert distances[-2:].min() > 1 > distances[:-2].max()
        assert 0 < clusters.noise_rate < 0.05

    def test_the_model_of_dense_groups_holds_no_single_customer(self) -> None:
        moons, _ = make_moons(500, noise=0.05, random_state=10)
        clusters = fit("hdbscan", moons, 5)
        assert len(clusters.centres) <= 50
        assert np.linalg.norm(moons[:, None] - clusters.centres[None], axis=2).min() > 0

    def test_dense_groups_are_no_more_than_wanted(self) -> None:
        rng = np.random.default_rng(11)
        points = np.concatenate([rng.normal([10 * place, 0], 0.2, (size, 2)) for place, size in enumerate([30] * 6)])
        assert fit("hdbscan", points, 8).count == 6
        assert fit("hdbscan", points, 4).count <= 4

    def test_bisecting_ends_near_k_means_where_groups_are_clear(self) -> None:
        rng = np.random.default_rng(12)
        points = np.concatenate([rng.normal(centre, 0.5, (50, 2)) for centre in ([0, 0], [9, 0], [0, 9], [9, 9])])
        inertia = (fit("bisecting_k_means", points, 4).place(points)[1] ** 2).sum()
        assert inertia == pytest.approx(KMeans(4, n_init=10, random_state=1).fit(points).inertia_, rel=1e-6)


class TestOddPoints:
    @pytest.mark.parametrize("method", METHODS)
    def test_two_kinds_of_identical_points(self, method: str) -> None:
        points = np.repeat(np.array([[0.0, 1.0], [4.0, 1.0]]), [30, 20], axis=0)
        clusters = fit(method, points, 2)
        labels, distances = clusters.place(points)
        assert sorted(np.bincount(labels)) == [20, 30]
        assert np.allclose(distances, 0)

    @pytest.mark.parametrize("method", METHODS)
    def test_two_points(self, method: str) -> None:
        clusters = fit(method, np.array([[0.0], [1.0]]), 2)
        labels, distances = clusters.place(np.array([[0.0], [1.0]]))
        # Two points are no dense groups: density sees one cluster.
        assert labels.tolist() in (([0, 1], [1, 0]) if method != "hdbscan" else ([0, 0],))
        assert np.isfinite(distances).all()

    def test_all_noise_is_one_cluster(self) -> None:
        points = np.random.default_rng(13).normal(size=(400, 8))
        clusters = fit("hdbscan", points, 8)
        assert (clusters.count, clusters.noise_rate) == (1, 1.0)
        assert np.allclose(clusters.centres, points.mean(axis=0))

    def test_a_singular_covariance_has_a_density(self) -> None:
        rng = np.random.default_rng(14)
        line = rng.normal(size=(200, 1)) + np.repeat([[0.0], [9.0]], 100, axis=0)
        points = np.concatenate([line, 2 * line, np.zeros((200, 1))], axis=1)  # rank one, and a constant
        clusters = fit("gaussian_mixture", points, 2)
        assert np.isfinite(clusters.precisions).all()
        assert adjusted_rand_score(np.repeat([0, 1], 100), clusters.place(points)[0]) == 1.0

    def test_clusters_that_hold_nobody_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        centres = np.array([[99.0], [0.0], [5.0]])
        monkeypatch.setitem(METHODS, "far", lambda *_: Clusters.around(centres))  # type: ignore[misc]
        clusters = fit("far", np.array([[0.0], [4.0]]), 3)
        assert clusters.centres.tolist() == [[0.0], [5.0]]
        assert clusters.place(np.array([[0.0], [4.0]]))[0].tolist() == [0, 1]
