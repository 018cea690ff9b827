"""Estimates of experiments against statsmodels, scipy and linearmodels on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from linearmodels.panel import PooledOLS
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import tt_ind_solve_power, zt_ind_solve_power
from statsmodels.stats.proportion import power_proportions_2indep

from promo_spark.kernels.always_valid import always_valid_p, confidence_sequence, mixture_scale
from promo_spark.kernels.arm_effects import Difference, Metric, compare_arms, measure_arms
from promo_spark.kernels.experiment_cells import merge_thin_strata
from promo_spark.kernels.multiple_testing import holm
from promo_spark.kernels.quantile_effects import quantile_with_error
from promo_spark.kernels.sample_ratio import balance, missing_rate_p, sample_ratio_p
from promo_spark.kernels.sample_size import minimum_detectable_effect, proportion_variances, required_size
from promo_spark.kernels.value_bins import UPPER_EDGES, bin_of, cut_mean, sum_bins, upper_limit

CUSTOMERS = 3000


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    before, flag = rng.lognormal(2.0, 0.8, CUSTOMERS), rng.random(CUSTOMERS) < 0.3
    given = (rng.permutation(CUSTOMERS) < 1200) * 1
    after = 0.7 * before + 4.0 * flag + rng.gamma(1.5, 4.0, CUSTOMERS) + given * (1.0 + 0.05 * before)
    orders = 1 + rng.poisson(2.0, CUSTOMERS)
    stratum = rng.integers(0, 3, CUSTOMERS)
    return pd.DataFrame(
        {"given": given, "before": before, "flag": flag * 1.0, "after": after, "orders": orders, "stratum": stratum}
    )


def products_of(rows: pd.DataFrame, columns: list[str], by: str | None = None) -> np.ndarray:
    values = np.column_stack([np.ones((len(rows), 2)), rows[columns].to_numpy(dtype=float)])
    groups = rows[by].to_numpy() if by else np.zeros(len(rows))
    return np.array(
        [
            [
                values[own].T @ values[own]
                for group in np.unique(groups)
                for own in [(rows.given == arm) & (groups == group)]
            ]
            for arm in (0, 1)
        ]
    )


def compared(products: np.ndarray, metric: Metric, covariates: tuple[int, ...] = ()) -> Difference:
    return compare_arms(measure_arms(products, metric, covariates), 1, 0)


def test_the_difference_in_means_is_welchs(trial: pd.DataFrame) -> None:
    found = compared(products_of(trial, ["after"]), Metric(2))
    given, kept = trial.loc[trial.given == 1, "after"], trial.loc[trial.given == 0, "after"]
    welch = stats.ttest_ind(given, kept, equal_var=False)
    assert (found.effect, found.p_value, found.freedom) == pytest.approx(
        (given.mean() - kept.mean(), welch.pvalue, welch.df)
    )
    fit = sm.OLS(trial.after, sm.add_constant(trial.given)).fit(cov_type="HC2")
    assert found.standard_error == pytest.approx(fit.bse["given"])


def test_the_adjusted_effect_is_that_of_the_fully_interacted_regression(trial: pd.DataFrame) -> None:
    centred = trial[["before", "flag"]] - trial[["before", "flag"]].mean()
    design = pd.concat([trial.given, centred, centred.mul(trial.given, axis=0).add_suffix("_given")], axis=1)
    fit = sm.OLS(trial.after, sm.add_constant(design)).fit(cov_type="HC2")
    found = compared(products_of(trial, ["before", "flag", "after"]), Metric(4), (2, 3))
    assert found.effect == pytest.approx(fit.params["given"])
    slopes = fit.params[["before_given", "flag_given"]]
    anew = float(slopes @ np.cov(centred.T) @ slopes) / len(trial)  # other customers would bring other covariates
    assert found.standard_error == pytest.approx(np.sqrt(fit.bse["given"] ** 2 + anew), rel=0.01)


def test_the_stratified_effect_is_the_weighted_mean_of_the_strata(trial: pd.DataFrame) -> None:
    found = compared(products_of(trial, ["after"], by="stratum"), Metric(2))
    effect, variance, differing = 0.0, 0.0, []
    for _, rows in trial.groupby("stratum"):
        share = len(rows) / len(trial)
        given, kept = rows.loc[rows.given == 1, "after"], rows.loc[rows.given == 0, "after"]
        effect += share * (given.mean() - kept.mean())
        variance += share**2 * (given.var() / len(given) + kept.var() / len(kept))
        differing.append((share, given.mean() - kept.mean()))
    variance += sum(share * (own - effect) ** 2 for share, own in differing) / len(trial)
    assert (found.effect, found.standard_error**2) == pytest.approx((effect, variance))


def test_a_ratio_has_the_error_of_the_delta_method(trial: pd.DataFrame) -> None:
    found = compared(products_of(trial, ["after", "orders"]), Metric(2, 3))
    effect, variance = 0.0, 0.0
    for arm, sign in ((1, 1.0), (0, -1.0)):
        rows = trial[trial.given == arm]
        ratio = rows.after.sum() / rows.orders.sum()
        fit = sm.OLS(rows.after - ratio * rows.orders, np.ones(len(rows))).fit(cov_type="HC2")
        effect += sign * ratio
        variance += float(fit.bse.iloc[0]) ** 2 / rows.orders.mean() ** 2
    assert (found.effect, found.standard_error**2) == pytest.approx((effect, variance))


def test_clusters_have_the_robust_errors_of_statsmodels_and_linearmodels() -> None:
    rng = np.random.default_rng(8)
    store = rng.integers(0, 40, 4000)
    given = (store % 2).astype(float)
    after = 10 + rng.normal(0, 2, 40)[store] + given + rng.normal(0, 5, 4000)
    rows = pd.DataFrame({"store": store, "given": given, "after": after})
    sums = rows.groupby("store").agg(size=("after", "size"), total=("after", "sum"), given=("given", "first"))
    units = np.column_stack([np.ones(40), sums["size"], sums.total])
    arms = [units[sums.given == arm] for arm in (0, 1)]
    found = compared(np.stack([own.T @ own for own in arms])[:, None], Metric(2))
    fit = sm.OLS(rows.after, sm.add_constant(rows.given)).fit(cov_type="cluster", cov_kwds={"groups": rows.store})
    panel = rows.assign(row=np.arange(4000)).set_index(["store", "row"])
    pooled = PooledOLS(panel.after, sm.add_constant(panel.given)).fit(cov_type="clustered", cluster_entity=True)
    assert found.effect == pytest.approx(fit.params["given"])
    # They correct the variance for 40 clusters (40 / 39 and 3999 / 3998), this one for the 20 of each arm (20 / 19).
    assert found.standard_error == pytest.approx(
        fit.bse["given"] * np.sqrt(20 / 19 / (40 / 39 * 3999 / 3998)), rel=1e-6
    )
    assert found.standard_error == pytest.approx(float(pooled.std_errors["given"]), rel=0.03)
    assert found.freedom < 38.1


def test_the_relative_effect_is_that_of_simulated_means(trial: pd.DataFrame) -> None:
    arms = measure_arms(products_of(trial, ["after"]), Metric(2))
    found = compare_arms(arms, 1, 0)
    rng = np.random.default_rng(1)
    drawn = [rng.normal(arms.values[arm], np.sqrt(arms.variances[arm]), 200_000) for arm in (0, 1)]
    expected = np.quantile(drawn[1] / drawn[0] - 1, [0.025, 0.975])
    assert (found.relative_low, found.relative_high) == pytest.approx(tuple(expected), abs=0.004)


def test_strata_without_an_arm_are_put_together() -> None:
    counts = np.array([[5.0, 0, 3, 9], [5, 4, 1, 9]])[..., None, None] * np.ones((2, 2))
    assert merge_thin_strata(counts)[..., 0, 0].tolist() == [[5.0, 9.0, 3.0], [5.0, 9.0, 5.0]]
    assert merge_thin_strata(counts[:, :2])[..., 0, 0].tolist() == [[5.0], [9.0]]


def test_covariates_that_repeat_or_do_not_vary_change_nothing(trial: pd.DataFrame) -> None:
    rows = trial.assign(twice=2 * trial.before, flat=1.0)
    plain = compared(products_of(rows, ["before", "after"]), Metric(3), (2,))
    padded = compared(products_of(rows, ["before", "twice", "flat", "after"]), Metric(5), (2, 3, 4))
    assert padded.effect == pytest.approx(plain.effect)
    assert padded.standard_error == pytest.approx(plain.standard_error, rel=1e-3)


def test_what_does_not_vary_has_no_error(trial: pd.DataFrame) -> None:
    rows = trial.assign(flat=7.0, nothing=0.0)
    flat = compared(products_of(rows, ["flat"]), Metric(2))
    assert flat.effect == pytest.approx(0.0)
    assert np.isnan([flat.standard_error, flat.p_value, flat.low]).all()
    undefined = compared(products_of(rows, ["after", "nothing"]), Metric(2, 3))
    assert np.isnan([undefined.effect, undefined.standard_error, undefined.p_value]).all()


def test_holm_agrees_with_statsmodels() -> None:
    p_values = np.random.default_rng(3).beta(0.4, 2.0, 50)
    told = multipletests(p_values, 0.05, "holm")
    rejected, adjusted = holm(p_values)
    np.testing.assert_allclose(adjusted, told[1])
    assert rejected.tolist() == told[0].tolist()


def test_sizes_agree_with_statsmodels() -> None:
    assert required_size(1.5, (25.0, 25.0)) / 2 == pytest.approx(
        zt_ind_solve_power(effect_size=0.3, alpha=0.05, power=0.8), abs=0.51
    )
    few = minimum_detectable_effect((25.0, 25.0), (12.0, 12.0), freedom=22.0)
    assert few / 5.0 == pytest.approx(tt_ind_solve_power(nobs1=12, alpha=0.05, power=0.8), rel=0.01)
    uneven = required_size(1.5, (25.0, 25.0), (0.25, 0.75))
    assert uneven / 4 == pytest.approx(zt_ind_solve_power(effect_size=0.3, alpha=0.05, power=0.8, ratio=3.0), abs=1.0)
    each = required_size(0.03, proportion_variances(0.1, 0.03)) // 2
    assert power_proportions_2indep(0.03, 0.1, each, alternative="two-sided").power == pytest.approx(0.8, abs=0.01)


def test_sample_ratio_and_missing_rates_are_scipys_chi_squares() -> None:
    counts = np.array([510.0, 290.0, 200.0])
    shares = np.array([0.5, 0.3, 0.2])
    assert sample_ratio_p(counts, shares) == pytest.approx(stats.chisquare(counts, shares * 1000).pvalue)
    table = np.array([[12.0, 30.0], [488.0, 470.0]])
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert missing_rate_p(table[0], table.sum(axis=0)) == pytest.approx(expected)


def test_balance_is_the_standardised_difference(trial: pd.DataFrame) -> None:
    gaps, p_value = balance(products_of(trial, ["before", "flag"]), (2, 3), 1, 0)
    given, kept = trial[trial.given == 1], trial[trial.given == 0]
    expected = [
        (given[name].mean() - kept[name].mean()) / np.sqrt((given[name].var() + kept[name].var()) / 2)
        for name in ("before", "flag")
    ]
    assert gaps == pytest.approx(expected)
    tests = [stats.ttest_ind(given[name], kept[name], equal_var=False).pvalue for name in ("before", "flag")]
    assert p_value == pytest.approx(min(1.0, 2 * min(tests)))


@pytest.mark.parametrize("level", [0.25, 0.5, 0.9])
def test_quantiles_have_the_errors_of_the_bootstrap(level: float) -> None:
    rng = np.random.default_rng(11)
    values = rng.lognormal(3.0, 1.0, 4000)
    value, error = quantile_with_error(
        sum_bins(values, np.zeros(4000, dtype=np.int64), 1)[0, :, 0], UPPER_EDGES[:-1], level
    )
    drawn = [np.quantile(rng.choice(values, 4000), level) for _ in range(400)]
    assert value == pytest.approx(np.quantile(values, level), rel=0.02)
    assert error == pytest.approx(np.std(drawn), rel=0.2)


def test_bins_hold_every_value_below_their_edge() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.lognormal(0, 4, 5000), -rng.lognormal(0, 4, 5000), [0.0, 1e-9, -1e-9]])
    upper = UPPER_EDGES[bin_of(values)]
    assert (values <= upper * (1 + np.sign(upper) * 1e-9)).all()
    assert (np.diff(bin_of(np.sort(values))) >= 0).all()


def test_winsorised_means_are_those_of_the_cut_values() -> None:
    values = np.random.default_rng(4).lognormal(1.0, 1.5, 2000)
    bins = sum_bins(values, np.zeros(2000, dtype=np.int64), 1)[0]
    limit = upper_limit(bins, 0.95)
    assert np.quantile(values, 0.95) <= limit <= 1.06 * np.quantile(values, 0.95)
    cut = np.minimum(values, limit)
    found = cut_mean(bins, limit)
    assert (found.mean, found.variance, found.size) == pytest.approx((cut.mean(), cut.var(ddof=1), 2000))


def test_what_is_rare_is_not_cut_to_nothing() -> None:
    rare = np.zeros(1000)
    rare[:3] = 1.0
    assert upper_limit(sum_bins(rare, np.zeros(1000, dtype=np.int64), 1)[0], 0.99) == np.inf


def test_a_sequence_is_its_p_value_turned_over() -> None:
    scale = mixture_scale(5000.0, 0.05)
    customers = np.array([300.0, 5000.0, 80_000.0])
    half = confidence_sequence(np.ones(3), customers, scale)
    np.testing.assert_allclose(always_valid_p(half, customers, scale), 0.05, rtol=1e-9)
    widths = [
        float(confidence_sequence(np.ones(1), np.array([5000.0]), mixture_scale(at))[0])
        for at in (2000.0, 5000.0, 12_000.0)
    ]
    assert widths[1] == min(widths)


def simulated(name: str, replications: int = 100) -> list[Any]:
    from benchmarks.simulate import study  # noqa: PLC0415  (benchmarks are no package of the tests)

    return study([name], replications, 7)[name]


@pytest.mark.parametrize("name", ["stratified", "ratio", "clustered", "sequential", "sample_ratio"])
def test_a_share_of_the_simulation_holds(name: str) -> None:
    figures = simulated(name)
    assert figures
    assert [figure for figure in figures if not figure.is_passed] == []
