"""Which segments: recovery of known groups, and sense where there are none. No JVM."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.kernels.clustering import METHODS, Clusters
from promo_spark.kernels.variance_explained import Explained
from promo_spark.segments.choice import choose_trial
from promo_spark.segments.clusters import Sample
from promo_spark.segments.trials import Trial, try_clusters

SETTINGS = SegmentSettings(cluster_counts=(2, 3, 4, 5), resamples=3)
EVERY_METHOD = SETTINGS.model_copy(update={"methods": tuple(METHODS)})


def tried(points: np.ndarray, settings: SegmentSettings = SETTINGS, earlier: Sample | None = None) -> tuple[Trial, ...]:
    return try_clusters(points, earlier=earlier, settings=settings, seed=3)


def groups(sizes: tuple[int, ...], spread: float = 0.3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    centres = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 6.0, 0.0], [3.0, 3.0, 5.0]])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.default_rng(seed).normal(scale=spread, size=(len(labels), 3))
    return centres[labels] + noise, labels


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", [(60, 60, 60), (120, 60, 20), (50, 50, 50, 50)])
def test_the_groups_that_are_there_are_found(sizes: tuple[int, ...], method: str) -> None:
    points, labels = groups(sizes)
    settings = SETTINGS.model_copy(update={"methods": (method,)})
    trials = tried(points, settings)
    chosen, reasons = choose_trial(trials, 0.02)
    assert (chosen.method, chosen.cluster_count) == (method, len(sizes))
    assert adjusted_rand_score(labels, chosen.clusters.place(points)[0]) == 1.0
    assert chosen.stability == pytest.approx(1.0)
    assert chosen.smallest_rate == pytest.approx(min(sizes) / sum(sizes))
    # Density finds the number itself; of the others each number has its reason.
    counts = {len(sizes)} if method == "hdbscan" else {2, 3, 4, 5}
    assert set(reasons) == {(method, count) for count in counts}
    assert ("only number" if method == "hdbscan" else "best silhouette") in reasons[method, len(sizes)]


def test_noise_is_less_stable_than_groups() -> None:
    noise = np.random.default_rng(5).normal(size=(180, 3))
    noisy, clear = ({trial.cluster_count: trial for trial in tried(points)} for points in (noise, groups((60,) * 3)[0]))
    assert (noisy[3].stability or 0) < 0.9 < (clear[3].stability or 0)
    assert (noisy[3].silhouette or 0) < 0.6 < (clear[3].silhouette or 0)


def test_density_finds_no_groups_in_noise_and_another_method_is_used() -> None:
    noise = np.random.default_rng(13).normal(size=(400, 8))
    trials = tried(noise, SETTINGS.model_copy(update={"methods": ("hdbscan", "k_means")}))
    alone = trials[0]
    assert (alone.method, alone.cluster_count, alone.clusters.noise_rate) == ("hdbscan", 1, 1.0)
    assert (alone.silhouette, alone.stability, alone.smallest_rate) == (None, None, 1.0)
    assert choose_trial(trials, 0.02)[0].method == "k_means"
    assert choose_trial(trials[:1], 0.02)[0] is alone


def test_silhouette_is_the_mean_over_customers_of_squared_distances() -> None:
    """By its definition, for two groups on a line."""
    points = np.array([[0.0], [1.0], [10.0], [12.0]])
    trial = tried(points, SegmentSettings(cluster_counts=(2,), resamples=2, resample_rate=0.9))[0]
    own = [1, 1, 4, 4]
    other = [(100 + 144) / 2, (81 + 121) / 2, (100 + 81) / 2, (144 + 121) / 2]
    expected = np.mean([1 - a / b for a, b in zip(own, other, strict=True)])
    assert trial.silhouette == pytest.approx(expected, abs=1e-6)


def test_the_same_seed_gives_the_same_trials() -> None:
    points, _ = groups((60, 60, 60), spread=2.5)
    once, again = (tried(points, EVERY_METHOD) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert one.agreements == other.agreements
        assert np.array_equal(one.clusters.centres, other.clusters.centres)


def test_a_trial_is_the_best_of_many_starts() -> None:
    points, _ = groups((80, 80, 80, 80), spread=1.5)
    trial = tried(points, SegmentSettings(cluster_counts=(4,), resamples=2))[0]
    inertia = (trial.clusters.place(points)[1] ** 2).sum()
    starts = [KMeans(4, n_init=1, init="random", random_state=seed).fit(points).inertia_ for seed in range(20)]
    assert inertia == pytest.approx(min(starts), rel=1e-3)


def test_what_came_later_is_explained_by_segments_of_the_earlier_date() -> None:
    """Groups of the earlier date behave apart afterwards; those of the date itself are others and have no say."""
    points, _ = groups((60, 60, 60))
    before, kinds = groups((50, 50, 50, 50), seed=2)
    outcomes = np.column_stack([kinds == 3, kinds // 2]).astype(float)
    later = {trial.cluster_count: trial.later for trial in tried(points, earlier=Sample(before, outcomes))}
    assert later[4] is not None
    assert later[2] is not None
    assert later[4].rate == pytest.approx(1.0)
    assert later[2].rate < 0.9
    assert all(trial.later is None for trial in tried(points))


def test_an_earlier_date_with_fewer_customers_than_clusters_says_nothing() -> None:
    points, _ = groups((60, 60, 60))
    earlier = Sample(points[[0, 1, 60, 61, 120]], np.zeros((5, 1)))
    assert {trial.cluster_count: trial.later is None for trial in tried(points, earlier=earlier)} == {
        2: False,
        3: True,
        4: True,
        5: True,
    }


class TestTooFewToTell:
    @pytest.mark.parametrize("customers", [1, 2, 3])
    @pytest.mark.parametrize("method", METHODS)
    def test_fewer_than_two_per_cluster_are_one_segment(self, customers: int, method: str) -> None:
        points = np.arange(2.0 * customers).reshape(customers, 2)
        (trial,) = tried(points, SETTINGS.model_copy(update={"methods": (method, "k_means")}))
        assert (trial.method, trial.cluster_count) == (method, 1)
        assert np.allclose(trial.clusters.centres, points.mean(axis=0))
        assert (trial.silhouette, trial.stability, trial.stability_sd, trial.later) == (None, None, None, None)
        chosen, reasons = choose_trial([trial], 0.02)
        assert chosen is trial
        assert "no groups" in reasons[method, 1]

    def test_all_alike_are_one_segment(self) -> None:
        assert [t.cluster_count for t in tried(np.ones((50, 2)), EVERY_METHOD)] == [1]

    def test_without_columns_all_are_alike(self) -> None:
        (trial,) = tried(np.empty((50, 0)))
        assert trial.clusters.centres.shape == (1, 0)

    @pytest.mark.parametrize("method", METHODS)
    def test_no_more_clusters_than_different_customers(self, method: str) -> None:
        points = np.repeat(np.array([[0.0], [1.0], [5.0]]), 20, axis=0)
        settings = SegmentSettings(cluster_counts=(2, 3, 4), resamples=2, methods=(method,))
        assert [t.cluster_count for t in tried(points, settings)] == ([3] if method == "hdbscan" else [2, 3])
        (trial,) = tried(points, settings.model_copy(update={"cluster_counts": (5, 6)}))
        assert trial.cluster_count == 3
        assert "only number" in choose_trial([trial], 0.02)[1][method, 3]


def trial(
    count: int,
    silhouette: float,
    stability: float = 0.9,
    *,
    smallest: float = 0.1,
    method: str = "k_means",
    later: tuple[float, float] | None = None,
) -> Trial:
    """``later`` is a rate and its error, which is the error of every difference too."""
    # Ten parts up and ten down by x have a jackknife error of x √19.
    swing = np.tile([1.0, -1.0], 10) / 19**0.5
    explained = None if later is None else Explained(later[0], later[0] + later[1] * swing)
    clusters = Clusters.around(np.arange(float(count))[:, None])
    return Trial(method, clusters, silhouette, (stability, stability), smallest, explained)


class TestChoiceOfTheNumber:
    def test_best_silhouette_among_the_large_and_stable(self) -> None:
        trials = [trial(2, 0.3), trial(3, 0.5, 0.5), trial(4, 0.4, 0.7), trial(5, 0.9, smallest=0.01)]
        chosen, reasons = choose_trial(trials, 0.02)
        assert chosen is trials[2]
        assert reasons["k_means", 2] == "lower silhouette"
        assert reasons["k_means", 3] == "stability 0.50 is below 0.6"
        assert reasons["k_means", 5] == "its smallest cluster holds 1.0% of customers"

    def test_the_most_stable_where_none_is_stable(self) -> None:
        chosen, reasons = choose_trial([trial(2, 0.3, 0.2), trial(3, 0.2, 0.5), trial(4, 0.9, 0.4)], 0.02)
        assert chosen.cluster_count == 3
        assert "none reaches" in reasons["k_means", 3]
        assert reasons["k_means", 4] == "less stable"

    def test_equals_go_to_fewer_clusters_and_small_ones_count_where_all_are_small(self) -> None:
        trials = [trial(count, 0.3, 0.8, smallest=0.001) for count in (4, 3)]
        assert choose_trial(trials, 0.02)[0].cluster_count == 3

    def test_what_came_later_does_not_settle_it(self) -> None:
        trials = [trial(4, 0.4, later=(0.2, 0.01)), trial(8, 0.3, later=(0.5, 0.01))]
        assert choose_trial(trials, 0.02)[0].cluster_count == 4


class TestChoiceOfTheMethod:
    def test_the_first_stays_unless_another_explains_more_by_an_error(self) -> None:
        # Errors go together, so that their difference has none: 0.03 - 0.02.
        first = trial(4, 0.4, later=(0.30, 0.02))
        for rate, method in ((0.305, "k_means"), (0.32, "gaussian_mixture")):
            other = trial(4, 0.1, later=(rate, 0.03), method="gaussian_mixture")
            chosen, reasons = choose_trial([first, other], 0.02)
            assert chosen.method == method
            assert "no other method explains more" in reasons[method, 4]
            assert sum("explains less" in why for why in reasons.values()) == 1

    def test_methods_are_compared_at_one_number_of_clusters(self) -> None:
        """More clusters explain more: eight of a method that is no better at four do not win."""
        trials = [
            trial(4, 0.4, later=(0.30, 0.01)),
            trial(8, 0.2, later=(0.50, 0.01)),
            trial(4, 0.2, later=(0.28, 0.01), method="bisecting_k_means"),
            trial(8, 0.3, later=(0.45, 0.01), method="bisecting_k_means"),
        ]
        assert choose_trial(trials, 0.02)[0] is trials[0]
        better = trial(4, 0.2, later=(0.35, 0.01), method="bisecting_k_means")
        assert choose_trial([*trials[:2], better, trials[3]], 0.02)[0] is trials[3]

    def test_without_an_earlier_date_the_silhouette_decides(self) -> None:
        trials = [trial(4, 0.2), trial(5, 0.1), trial(4, 0.3, method="gaussian_mixture")]
        chosen, reasons = choose_trial(trials, 0.02)
        assert chosen is trials[2]
        assert reasons["k_means", 4] == "lower silhouette than another method"
        assert reasons["k_means", 5] == "lower silhouette"

    def test_unstable_small_and_single_clusters_come_last(self) -> None:
        trials = [
            trial(1, 0.0, method="hdbscan", later=(0.9, 0.01)),
            trial(4, 0.9, 0.3, method="gaussian_mixture", later=(0.8, 0.01)),
            trial(4, 0.8, smallest=0.001, method="bisecting_k_means", later=(0.7, 0.01)),
            trial(4, 0.1, later=(0.1, 0.01)),
        ]
        chosen, reasons = choose_trial(trials, 0.02)
        assert chosen is trials[3]
        assert "no groups" in reasons["hdbscan", 1]
        assert "stability 0.30" in reasons["gaussian_mixture", 4]
        assert "smallest cluster" in reasons["bisecting_k_means", 4]
        assert choose_trial(trials[:2], 0.02)[0] is trials[1]
        assert choose_trial(trials[:1], 0.02)[0] is trials[0]
