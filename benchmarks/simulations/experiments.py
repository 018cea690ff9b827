"""Estimators of randomised experiments, by the kernels that the pipeline runs on Spark's sums.

Worlds: customers with skewed spend that earlier spend foretells, effects that differ between customers; yes or no;
counts; tails so heavy that a few customers hold much of the sum; ratios; strata; stores that are drawn as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from benchmarks.simulations.figures import Figure, Study, coverage, false_positives, peeking, power
from promo_spark.kernels.always_valid import confidence_sequence, mixture_scale
from promo_spark.kernels.arm_effects import Difference, Metric, compare_arms, measure_arms
from promo_spark.kernels.experiment_effects import shrunk_reach
from promo_spark.kernels.multiple_testing import holm
from promo_spark.kernels.quantile_effects import quantile_with_error
from promo_spark.kernels.sample_ratio import sample_ratio_p
from promo_spark.kernels.sample_size import proportion_variances, required_size
from promo_spark.kernels.shrinkage import shrink_effects
from promo_spark.kernels.value_bins import UPPER_EDGES, cut_mean, sum_bins, upper_limit

CUSTOMERS = 800
World = Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray, float]]
"""From a generator, customers and an effect to rows (1, weight, covariates, outcomes), arms and the true effect."""


def spend(rng: np.random.Generator, customers: int, effect: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Skewed spend that earlier spend foretells; the effect grows with it."""
    before = rng.lognormal(3.0, 0.7, customers)
    arms = rng.permutation(customers) % 2
    after = 0.8 * before + rng.gamma(2.0, 6.0, customers) + effect * arms * before / np.exp(3.0 + 0.7**2 / 2)
    ones = np.ones(customers)
    return np.column_stack([ones, ones, before, after]), arms, effect


def answers(rng: np.random.Generator, customers: int, effect: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Yes or no, 8 % of them yes, more among those who said yes before."""
    before = rng.random(customers) < 0.3
    arms = rng.permutation(customers) % 2
    after = rng.random(customers) < 0.05 + 0.1 * before + effect * arms
    ones = np.ones(customers)
    return np.column_stack([ones, ones, before, after]), arms, effect


def counts(rng: np.random.Generator, customers: int, effect: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Orders, more variable than Poisson."""
    rate = rng.gamma(2.0, 1.0, customers)
    arms = rng.permutation(customers) % 2
    ones = np.ones(customers)
    after = rng.poisson(rate + effect * arms)
    return np.column_stack([ones, ones, rng.poisson(rate), after]), arms, effect


def tails(rng: np.random.Generator, customers: int, effect: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Spend of which the largest one in a hundred hold a fifth."""
    arms = rng.permutation(customers) % 2
    ones = np.ones(customers)
    after = rng.lognormal(2.0, 1.3, customers) + effect * arms
    return np.column_stack([ones, ones, rng.normal(size=customers), after]), arms, effect


def products_of(rows: np.ndarray, arms: np.ndarray, strata: np.ndarray | None = None) -> np.ndarray:
    """Sums of products by arm and stratum."""
    groups = np.zeros(len(rows), dtype=int) if strata is None else strata
    return np.stack(
        [
            np.stack(
                [rows[own].T @ rows[own] for own in ((arms == arm) & (groups == one) for one in np.unique(groups))]
            )
            for arm in range(arms.max() + 1)
        ]
    )


def replicate(rng: np.random.Generator, times: int, once: Callable[[np.random.Generator], Difference]) -> np.ndarray:
    """Low, high and p-value of each replication, shape (times, 3)."""
    return np.array([(found.low, found.high, found.p_value) for found in (once(rng) for _ in range(times))])


def of_means(world: World, effect: float, covariates: tuple[int, ...] = (), customers: int = CUSTOMERS) -> Study:
    """Coverage of a planted effect, and rejections where there is none."""

    def study(rng: np.random.Generator, times: int) -> list[Figure]:
        def once(planted: float) -> Callable[[np.random.Generator], Difference]:
            def draw(rng: np.random.Generator) -> Difference:
                rows, arms, _ = world(rng, customers, planted)
                return compare_arms(measure_arms(products_of(rows, arms), Metric(3), covariates), 1, 0)

            return draw

        planted, nothing = replicate(rng, times, once(effect)), replicate(rng, times, once(0.0))
        name = world.__name__
        return [coverage(planted[:, 0], planted[:, 1], effect, name), false_positives(nothing[:, 2], name)]

    return study


def both(*studies: Study) -> Study:
    return lambda rng, times: [figure for study in studies for figure in study(rng, times)]


def stratified(rng: np.random.Generator, times: int) -> list[Figure]:
    """Two arms of 30 and 70 % in four strata that differ in level and in effect."""

    def once(effect: float) -> Callable[[np.random.Generator], Difference]:
        def draw(rng: np.random.Generator) -> Difference:
            strata = rng.integers(0, 4, CUSTOMERS)
            arms = (rng.random(CUSTOMERS) < 0.7).astype(int)
            before = rng.normal(size=CUSTOMERS)
            after = 5.0 * strata + before + rng.exponential(3.0, CUSTOMERS) + effect * arms * strata / 1.5
            rows = np.column_stack([np.ones(CUSTOMERS), np.ones(CUSTOMERS), before, after])
            return compare_arms(measure_arms(products_of(rows, arms, strata), Metric(3), (2,)), 1, 0)

        return draw

    planted, nothing = replicate(rng, times, once(1.0)), replicate(rng, times, once(0.0))
    return [coverage(planted[:, 0], planted[:, 1], 1.0, "strata"), false_positives(nothing[:, 2], "strata")]


def clustered(rng: np.random.Generator, times: int) -> list[Figure]:
    """Stores drawn as a whole, 12 to an arm, of 10 to 80 customers who have much in common."""

    def once(effect: float) -> Callable[[np.random.Generator], Difference]:
        def draw(rng: np.random.Generator) -> Difference:
            sizes, arms = rng.integers(10, 80, 24), rng.permutation(24) % 2
            level = rng.normal(0, 2, 24)
            sums = sizes * (20 + level + effect * arms) + rng.normal(0, 5, 24) * np.sqrt(sizes)
            rows = np.column_stack([np.ones(24), sizes, sums])
            return compare_arms(measure_arms(products_of(rows, arms), Metric(2)), 1, 0)

        return draw

    planted, nothing = replicate(rng, times, once(2.0)), replicate(rng, times, once(0.0))
    return [coverage(planted[:, 0], planted[:, 1], 2.0, "stores"), false_positives(nothing[:, 2], "stores")]


def ratios(rng: np.random.Generator, times: int) -> list[Figure]:
    """Spend per order, where arms differ in orders too, and earlier spend per order foretells it."""

    def once(effect: float) -> Callable[[np.random.Generator], Difference]:
        def draw(rng: np.random.Generator) -> Difference:
            arms, taste = rng.permutation(CUSTOMERS) % 2, rng.lognormal(0.0, 0.3, CUSTOMERS)
            orders = rng.poisson(2.0 + 0.5 * arms)
            spent = orders * (10.0 * taste + effect * arms) + rng.normal(0, 4, CUSTOMERS) * np.sqrt(orders)
            ones = np.ones(CUSTOMERS)
            rows = np.column_stack([ones, ones, taste + rng.normal(0, 0.2, CUSTOMERS), orders, spent])
            return compare_arms(measure_arms(products_of(rows, arms), Metric(4, 3), (2,)), 1, 0)

        return draw

    planted, nothing = replicate(rng, times, once(1.0)), replicate(rng, times, once(0.0))
    return [coverage(planted[:, 0], planted[:, 1], 1.0, "baskets"), false_positives(nothing[:, 2], "baskets")]


def relative(rng: np.random.Generator, times: int) -> list[Figure]:
    """Effect over the control's mean."""
    truth = 3.0 / (0.8 * np.exp(3.0 + 0.7**2 / 2) + 12.0)
    found = []
    for _ in range(times):
        rows, arms, _ = spend(rng, CUSTOMERS, 3.0)
        found.append(compare_arms(measure_arms(products_of(rows, arms), Metric(3), (2,)), 1, 0))
    low, high = np.array([(one.relative_low, one.relative_high) for one in found]).T
    return [coverage(low, high, truth, "spend")]


def winsorised(rng: np.random.Generator, times: int) -> list[Figure]:
    """Nothing differs: what is cut off above is told by both arms together."""
    p_values = []
    for _ in range(times):
        rows, arms, _ = tails(rng, CUSTOMERS, 0.0)
        bins = sum_bins(rows[:, 3], arms, 2)
        limit = upper_limit(bins.sum(axis=0), 0.99)
        kept, given = cut_mean(bins[0], limit), cut_mean(bins[1], limit)
        error = np.sqrt(kept.variance / kept.size + given.variance / given.size)
        p_values.append(2 * stats.norm.sf(abs(given.mean - kept.mean) / error))
    return [false_positives(np.array(p_values), "tails")]


def quantiles(rng: np.random.Generator, times: int) -> list[Figure]:
    """The median and the ninth tenth of spend, moved by a factor."""
    figures = []
    for level, case in ((0.5, "median of spend"), (0.9, "ninth tenth of spend")):
        for factor in (1.1, 1.0):
            base = float(np.exp(2.0 + 0.8 * stats.norm.ppf(level)))
            ends, p_values = [], []
            for _ in range(times):
                arms = rng.permutation(2 * CUSTOMERS) % 2
                bins = sum_bins(rng.lognormal(2.0, 0.8, 2 * CUSTOMERS) * np.where(arms == 1, factor, 1.0), arms, 2)
                (kept, one), (given, other) = (
                    quantile_with_error(bins[arm, :, 0], UPPER_EDGES[:-1], level) for arm in (0, 1)
                )
                error = np.hypot(one, other)
                ends.append((given - kept - 1.96 * error, given - kept + 1.96 * error))
                p_values.append(2 * stats.norm.sf(abs(given - kept) / error))
            low, high = np.array(ends).T
            figures.append(
                false_positives(np.array(p_values), case)
                if factor == 1.0
                else coverage(low, high, base * (factor - 1.0), case)
            )
    return figures


def sequential(rng: np.random.Generator, times: int) -> list[Figure]:
    """A look after every 20 customers from 200 to 6,000; and the interval of one look, which is conservative."""
    scale, looks = mixture_scale(2000.0), np.arange(200, 6001, 20)
    rejected, low, high = [], [], []
    for _ in range(times):
        values = rng.gamma(1.0, 10.0, 6000)
        given = (np.arange(6000) + rng.integers(2)) % 2 == 0
        sums = [
            np.cumsum(np.where(which, values**power, 0.0))[looks - 1] for which in (given, ~given) for power in (1, 2)
        ]
        half = looks / 2
        variances = [(sums[one + 1] / half - (sums[one] / half) ** 2) / half for one in (0, 2)]
        effect, error = (sums[0] - sums[2]) / half, np.sqrt(variances[0] + variances[1])
        reach = confidence_sequence(error, looks.astype(float), scale)
        rejected.append(bool((np.abs(effect) > reach).any()))
        low.append(effect[-1] - reach[-1])
        high.append(effect[-1] + reach[-1])
    once = coverage(np.array(low), np.array(high), 0.0, "one look", conservative=True)
    return [peeking(np.array(rejected), "291 looks"), once]


def shrunk(rng: np.random.Generator, times: int) -> list[Figure]:
    """Effects of eight segments, drawn around a mean and told with known errors; each segment counts."""
    low, high = [], []
    for _ in range(max(times // 8, 2)):
        true = rng.normal(2.0, 1.0, 8)
        errors = rng.uniform(0.5, 1.5, 8)
        found = shrink_effects(rng.normal(true, errors)[:, None], errors[:, None] ** 2)
        half = shrunk_reach(8) * np.sqrt(found.variance[:, 0])
        low.append(found.effects[:, 0] - half - true)
        high.append(found.effects[:, 0] + half - true)
    return [coverage(np.concatenate(low), np.concatenate(high), 0.0, "segments", conservative=True)]


def many_arms(rng: np.random.Generator, times: int) -> list[Figure]:
    """Any of four arms found where none differs, after Holm's correction: at most 5 % of the experiments."""
    rejected = []
    for _ in range(times):
        arms, values = rng.permutation(CUSTOMERS) % 5, rng.exponential(5.0, CUSTOMERS)
        rows = np.column_stack([np.ones(CUSTOMERS), np.ones(CUSTOMERS), values])
        means = measure_arms(products_of(rows, arms), Metric(2))
        rejected.append(holm(np.array([compare_arms(means, arm, 0).p_value for arm in range(1, 5)]))[0].any())
    return [peeking(np.array(rejected), "four arms")]


def ratio_check(rng: np.random.Generator, times: int) -> list[Figure]:
    """Sizes of arms that were drawn as designed."""
    shares = np.array([0.5, 0.3, 0.2])
    drawn = rng.multinomial(2000, shares, size=times).astype(float)
    return [false_positives(np.array([sample_ratio_p(counts, shares) for counts in drawn]), "three arms")]


def designed(rng: np.random.Generator, times: int) -> list[Figure]:
    """Experiments of the size that finds an effect with a chance of 80 %."""
    figures = []
    size = required_size(2.0, (81.0, 81.0), (0.3, 0.7))
    kept, given = round(size * 0.3), round(size * 0.7)
    p_values = stats.ttest_ind(
        rng.normal(20, 9, (times, kept)), rng.normal(22, 9, (times, given)), axis=1, equal_var=False
    ).pvalue
    figures.append(power(p_values, 0.8, "means, arms of 30 and 70 %"))
    each = required_size(0.03, proportion_variances(0.1, 0.03)) // 2
    yes = rng.binomial(each, 0.1, times), rng.binomial(each, 0.13, times)
    rates = [count / each for count in yes]
    error = np.sqrt(sum(rate * (1 - rate) for rate in rates) / each)
    figures.append(power(2 * stats.norm.sf(np.abs(rates[1] - rates[0]) / error), 0.8, "rates of 10 and 13 %"))
    found = []
    adjusted = required_size(4.0, (72.0, 72.0))  # what earlier spend leaves of the variance: 2 x 6^2
    for _ in range(times):
        before = rng.lognormal(3.0, 0.7, adjusted)
        arms = rng.permutation(adjusted) % 2
        after = 0.8 * before + rng.gamma(2.0, 6.0, adjusted) + 4.0 * arms
        rows = np.column_stack([np.ones(adjusted), np.ones(adjusted), before, after])
        found.append(compare_arms(measure_arms(products_of(rows, arms), Metric(3), (2,)), 1, 0).p_value)
    figures.append(power(np.array(found), 0.8, "means, adjusted"))
    return figures


ESTIMATORS: dict[str, Study] = {
    "difference": both(of_means(spend, 3.0), of_means(answers, 0.03), of_means(counts, 0.3), of_means(tails, 2.0)),
    "regression_adjusted": both(of_means(spend, 3.0, (2,)), of_means(answers, 0.03, (2,)), of_means(counts, 0.3, (2,))),
    "stratified": stratified,
    "clustered": clustered,
    "ratio": ratios,
    "relative": relative,
    "winsorised": winsorised,
    "quantile": quantiles,
    "sequential": sequential,
    "shrunk": shrunk,
    "holm": many_arms,
    "sample_ratio": ratio_check,
    "power": designed,
}
