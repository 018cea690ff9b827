"""Groups against all others, by sums alone, against the same from rows by other libraries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from promo_spark.kernels.group_differences import MONOMIALS, adjusted_difference, ratio_difference
from promo_spark.kernels.small_cells import hidden_groups

Floats = NDArray[np.float64]


def moments(top: Floats, bottom: Floats) -> Floats:
    return np.array([len(top), top.sum(), bottom.sum(), top @ top, top @ bottom, bottom @ bottom])


def monomials(rows: Floats) -> dict[tuple[int, int, int], float]:
    return {(a, b, c): float((rows[:, 0] ** a * rows[:, 1] ** b * rows[:, 2] ** c).sum()) for a, b, c in MONOMIALS}


def test_a_mean_against_all_others_is_welchs_test() -> None:
    draws = np.random.default_rng(2)
    own, others = draws.gamma(2.0, 5.0, 40), draws.gamma(2.0, 4.0, 300)
    found = ratio_difference(moments(own, np.ones(40)), moments(np.append(own, others), np.ones(340)))
    told = stats.ttest_ind(own, others, equal_var=False)
    assert found is not None
    assert found.p_value == pytest.approx(told.pvalue)
    assert found.freedom == pytest.approx(told.df)
    assert found.interval(0.9) == pytest.approx(tuple(told.confidence_interval(0.9)))


def test_a_small_group_that_shows_no_spread_is_no_proof() -> None:
    draws = np.random.default_rng(6)
    others = draws.exponential(4.0, 400) * (draws.uniform(size=400) < 0.02)
    everybody = np.append(np.zeros(45), others)
    found = ratio_difference(moments(np.zeros(45), np.ones(45)), moments(everybody, np.ones(445)))
    alike = stats.ttest_ind(np.zeros(45), others, equal_var=True)
    assert found is not None
    assert found.error == pytest.approx(abs(others.mean() / alike.statistic))
    assert found.p_value is not None
    assert found.p_value > 0.3


@pytest.mark.parametrize(
    ("own", "size", "other", "others"), [(0, 46, 44, 2_400), (3, 30, 42, 2_400), (30, 60, 80, 200)]
)
def test_shares_are_tested_exactly(own: int, size: int, other: int, others: int) -> None:
    def shares(count: int, of: int) -> Floats:
        return moments((np.arange(of) < count).astype(float), np.ones(of))

    found = ratio_difference(shares(own, size), shares(own, size) + shares(other, others))
    assert found is not None
    assert found.p_value == pytest.approx(stats.fisher_exact([[own, size - own], [other, others - other]])[1])
    told = confint_proportions_2indep(own, size, other, others, method="newcomb")
    assert found.interval(0.95) == pytest.approx(told)


def test_a_ratio_has_the_error_of_its_linearisation() -> None:
    draws = np.random.default_rng(5)
    bottom = draws.uniform(10, 200, 500)
    in_group = np.arange(500) < 90
    top = bottom * np.where(in_group, draws.beta(1, 4, 500), draws.beta(2, 8, 500))
    found = ratio_difference(moments(top[in_group], bottom[in_group]), moments(top, bottom))
    variance = 0.0
    for side in (in_group, ~in_group):
        residual = (top[side] - top[side].sum() / bottom[side].sum() * bottom[side]) / bottom[side].mean()
        variance += residual.var(ddof=1) / side.sum()
    assert found is not None
    assert found.error == pytest.approx(np.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize("constant", [False, True])
def test_the_adjusted_difference_is_least_squares_with_white_errors(constant: bool) -> None:
    draws = np.random.default_rng(7)
    in_group = draws.uniform(size=800) < 0.15
    controls = np.column_stack(
        [draws.normal(4, 1, 800) + in_group, np.full(800, 0.0) if constant else draws.beta(2, 9, 800)]
    )
    outcome = 0.1 + 0.02 * controls[:, 0] + 0.3 * controls[:, 1] + draws.normal(0, 0.05 + 0.1 * in_group, 800)
    rows = np.column_stack([controls, outcome])
    found = adjusted_difference(monomials(rows[in_group]), monomials(rows))
    design = sm.add_constant(np.column_stack([controls[:, :1] if constant else controls, in_group]))
    fitted = sm.OLS(outcome, design).fit(cov_type="HC1", use_t=True)
    assert found is not None
    assert found.difference == pytest.approx(fitted.params[-1], rel=1e-6)
    assert found.error == pytest.approx(max(fitted.bse[-1], sm.OLS(outcome, design).fit().bse[-1]), rel=1e-5)
    assert found.p_value == pytest.approx(fitted.pvalues[-1], rel=1e-4)
    assert found.reference == pytest.approx(outcome[~in_group].mean())


def test_a_group_that_only_spends_more_is_not_called_favoured() -> None:
    draws = np.random.default_rng(11)
    rejected = []
    for _ in range(400):
        in_group = draws.uniform(size=300) < 0.3
        spend = draws.normal(4, 1, 300) + in_group
        rows = np.column_stack([spend, draws.beta(2, 9, 300), 0.05 * spend + draws.normal(0, 0.1, 300)])
        found = adjusted_difference(monomials(rows[in_group]), monomials(rows))
        assert found is not None
        assert found.p_value is not None
        rejected.append(found.p_value < 0.05)
    assert 0.02 < np.mean(rejected) < 0.085


def test_a_group_that_is_everybody_nobody_or_what_a_control_says_is_compared_with_nothing() -> None:
    rows = np.column_stack([np.tile([0.0, 1.0], 20), np.zeros(40), np.arange(40.0)])
    whole = monomials(rows)
    assert adjusted_difference(whole, whole) is None
    assert adjusted_difference(monomials(rows[:0]), whole) is None
    assert adjusted_difference(monomials(rows[::2]), whole) is None
    assert ratio_difference(moments(rows[:, 0], np.ones(40)), moments(rows[:, 0], np.ones(40))) is None


def test_no_spread_at_all_is_certain() -> None:
    same = ratio_difference(moments(np.full(30, 0.1), np.ones(30)), moments(np.full(90, 0.1), np.ones(90)))
    assert same is not None
    assert same.p_value == 1.0


@settings(max_examples=200, deadline=None)
@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=8), least=st.integers(2, 25))
def test_hidden_groups_cannot_be_found_by_subtraction(counts: list[int], least: int) -> None:
    sizes = np.array(counts)
    hidden = hidden_groups(sizes, least)
    assert hidden[sizes < least].all()
    if not (sizes < least).any():
        assert not hidden.any()
    elif not hidden.all():
        # Whoever subtracts all that is told from the whole learns of at least two groups and of enough customers.
        assert hidden.sum() >= 2
        assert sizes[hidden].sum() >= least
        joined = hidden & (sizes >= least)
        assert pd.Series(sizes[joined]).max() <= sizes[~hidden].min() if joined.any() else True
