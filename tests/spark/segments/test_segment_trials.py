"""How many segments: recovery of known groups, and sense where there are none. No JVM."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.segments.trials import Trial, choose_trial, try_cluster_counts

SETTINGS = SegmentSettings(cluster_counts=(2, 3, 4, 5), resamples=3)


def groups(sizes: tuple[int, ...], spread: float = 0.3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    centres = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 6.0, 0.0], [3.0, 3.0, 5.0]])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.default_rng(seed).normal(scale=spread, size=(len(labels), 3))
    return centres[labels] + noise, labels


@pytest.mark.parametrize("sizes", [(60, 60, 60), (120, 60, 20), (50, 50, 50, 50)])
def test_the_groups_that_are_there_are_found(sizes: tuple[int, ...]) -> None:
    points, labels = groups(sizes)
    chosen, reasons = choose_trial(try_cluster_counts(points, settings=SETTINGS, seed=3), 0.02)
    assert chosen.cluster_count == len(sizes)
    nearest = ((points[:, None, :] - chosen.centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert adjusted_rand_score(labels, nearest) == 1.0
    assert chosen.stability == pytest.approx(1.0)
    assert chosen.smallest_rate == pytest.approx(min(sizes) / sum(sizes))
    assert "best silhouette" in reasons[chosen.cluster_count]
    assert set(reasons) == {2, 3, 4, 5}


def test_noise_is_less_stable_than_groups() -> None:
    noise = np.random.default_rng(5).normal(size=(180, 3))
    noisy = {trial.cluster_count: trial for trial in try_cluster_counts(noise, settings=SETTINGS, seed=3)}
    clear = {
        trial.cluster_count: trial for trial in try_cluster_counts(groups((60,) * 3)[0], settings=SETTINGS, seed=3)
    }
    assert (noisy[3].stability or 0) < 0.9 < (clear[3].stability or 0)
    assert (noisy[3].silhouette or 0) < 0.6 < (clear[3].silhouette or 0)


def test_silhouette_is_the_mean_over_customers_of_squared_distances() -> None:
    """By its definition, for two groups on a line."""
    points = np.array([[0.0], [1.0], [10.0], [12.0]])
    settings = SegmentSettings(cluster_counts=(2,), resamples=2, resample_rate=0.9)
    trial = try_cluster_counts(points, settings=settings, seed=1)[0]
    own = [1, 1, 4, 4]
    other = [(100 + 144) / 2, (81 + 121) / 2, (100 + 81) / 2, (144 + 121) / 2]
    expected = np.mean([1 - a / b for a, b in zip(own, other, strict=True)])
    assert trial.silhouette == pytest.approx(expected, abs=1e-6)


def test_the_same_seed_gives_the_same_trials() -> None:
    points, _ = groups((60, 60, 60), spread=2.5)
    once, again = (try_cluster_counts(points, settings=SETTINGS, seed=3) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert one.agreements == other.agreements
        assert np.array_equal(one.centres, other.centres)


def test_a_trial_is_the_best_of_many_starts() -> None:
    points, _ = groups((80, 80, 80, 80), spread=1.5)
    trial = try_cluster_counts(points, settings=SegmentSettings(cluster_counts=(4,), resamples=2), seed=3)[0]
    inertia = ((points[:, None, :] - trial.centres[None]) ** 2).sum(axis=2).min(axis=1).sum()
    starts = [KMeans(4, n_init=1, init="random", random_state=seed).fit(points).inertia_ for seed in range(20)]
    assert inertia == pytest.approx(min(starts), rel=1e-3)


class TestTooFewToTell:
    @pytest.mark.parametrize("customers", [1, 3])
    def test_fewer_than_two_per_cluster_are_one_segment(self, customers: int) -> None:
        points = np.arange(2.0 * customers).reshape(customers, 2)
        (trial,) = try_cluster_counts(points, settings=SETTINGS, seed=1)
        assert trial.cluster_count == 1
        assert np.allclose(trial.centres, points.mean(axis=0))
        assert (trial.silhouette, trial.stability, trial.stability_sd) == (None, None, None)
        chosen, reasons = choose_trial([trial], 0.02)
        assert chosen is trial
        assert "too few" in reasons[1]

    def test_all_alike_are_one_segment(self) -> None:
        assert [t.cluster_count for t in try_cluster_counts(np.ones((50, 2)), settings=SETTINGS, seed=1)] == [1]

    def test_without_columns_all_are_alike(self) -> None:
        (trial,) = try_cluster_counts(np.empty((50, 0)), settings=SETTINGS, seed=1)
        assert trial.centres.shape == (1, 0)

    def test_no_more_clusters_than_different_customers(self) -> None:
        points = np.repeat(np.array([[0.0], [1.0], [5.0]]), 20, axis=0)
        settings = SegmentSettings(cluster_counts=(2, 3, 4), resamples=2)
        assert [t.cluster_count for t in try_cluster_counts(points, settings=settings, seed=1)] == [2, 3]
        settings = SegmentSettings(cluster_counts=(5, 6), resamples=2)
        (trial,) = try_cluster_counts(points, settings=settings, seed=1)
        assert trial.cluster_count == 3
        assert "only number" in choose_trial([trial], 0.02)[1][3]


class TestChoice:
    @staticmethod
    def trial(count: int, silhouette: float, stability: float, smallest: float = 0.1) -> Trial:
        return Trial(count, np.zeros((count, 1)), silhouette, (stability, stability), smallest)

    def test_best_silhouette_among_the_large_and_stable(self) -> None:
        trials = [
            self.trial(2, 0.3, 0.9),
            self.trial(3, 0.5, 0.5),
            self.trial(4, 0.4, 0.7),
            self.trial(5, 0.9, 0.9, smallest=0.01),
        ]
        chosen, reasons = choose_trial(trials, 0.02)
        assert chosen.cluster_count == 4
        assert reasons[2] == "lower silhouette"
        assert reasons[3] == "stability 0.50 is below 0.6"
        assert reasons[5] == "its smallest cluster holds 1.0% of customers"

    def test_the_most_stable_where_none_is_stable(self) -> None:
        chosen, reasons = choose_trial(
            [self.trial(2, 0.3, 0.2), self.trial(3, 0.2, 0.5), self.trial(4, 0.9, 0.4)], 0.02
        )
        assert chosen.cluster_count == 3
        assert "none reaches" in reasons[3]
        assert reasons[4] == "less stable"

    def test_equals_go_to_fewer_clusters_and_small_ones_count_where_all_are_small(self) -> None:
        trials = [self.trial(count, 0.3, 0.8, smallest=0.001) for count in (4, 3)]
        assert choose_trial(trials, 0.02)[0].cluster_count == 3
