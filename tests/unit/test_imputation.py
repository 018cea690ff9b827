"""Neighbours beside scikit-learn's own imputer and the definition, regression beside scikit-learn's Ridge."""

import numpy as np
import pytest
from sklearn.impute import KNNImputer
from sklearn.linear_model import Ridge

from promo_spark.kernels import imputation
from promo_spark.kernels.imputation import (
    Donors,
    fit_regression,
    impute_by_neighbours,
    impute_by_regression,
    make_donors,
    scale,
)

TARGET = 2
PLAIN = np.zeros(6, dtype=bool)


def table(n_rows: int, *, gaps: float = 0.2, seed: int = 1) -> np.ndarray:
    """Six columns that know of each other, with gaps."""
    dice = np.random.default_rng(seed)
    values = dice.normal(size=(n_rows, 2)) @ dice.normal(size=(2, 6)) + 0.3 * dice.normal(size=(n_rows, 6))
    values[dice.random(values.shape) < gaps] = np.nan
    return values


def rows_to_fill(n_rows: int) -> np.ndarray:
    rows = table(n_rows, seed=2)
    rows[:, TARGET] = np.nan
    return rows


def test_neighbours_are_those_of_scikit_learn() -> None:
    donors, rows = make_donors(table(200), PLAIN), rows_to_fill(50)
    rows[0] = np.nan
    scaled = np.vstack([donors.scaled, scale(rows, donors)])
    scaled[:200, TARGET] = donors.values[:, TARGET]
    expected = KNNImputer(n_neighbors=7).fit(scaled[:200]).transform(scaled[200:])[:, TARGET]
    given = impute_by_neighbours(rows, TARGET, donors, 7)
    assert np.isnan(given[0])  # scikit-learn's mean of all is left to the caller
    np.testing.assert_allclose(given[1:], expected[1:], rtol=1e-12)


def neighbours_by_definition(row: np.ndarray, donors: Donors, count: int) -> float:
    own = scale(row[None], donors)[0]
    near = []
    for place, (other, value) in enumerate(zip(donors.scaled, donors.values[:, TARGET], strict=True)):
        both = [i for i in range(len(own)) if i != TARGET and not np.isnan(own[i]) and not np.isnan(other[i])]
        if both and not np.isnan(value):
            near.append((sum((own[i] - other[i]) ** 2 for i in both) / len(both), place, value))
    return float(np.mean([value for *_, value in sorted(near)[:count]])) if near else np.nan


@pytest.mark.parametrize("count", [1, 3, 500])
def test_equally_near_donors_count_in_their_order(count: int) -> None:
    # Whole numbers of few values: most distances are shared by several donors.
    dice = np.random.default_rng(3)
    values = dice.integers(0, 3, (80, 6)).astype(float)
    values[dice.random(values.shape) < 0.2] = np.nan
    values[:, TARGET] = np.where(dice.random(80) < 0.1, np.nan, np.arange(80))
    donors = make_donors(values, PLAIN)
    rows = values[dice.permutation(80)[:30]].copy()
    rows[:, TARGET] = np.nan
    expected = [neighbours_by_definition(row, donors, count) for row in rows]
    np.testing.assert_allclose(impute_by_neighbours(rows, TARGET, donors, count), expected, rtol=1e-12)


def test_regression_is_the_ridge_of_scikit_learn_within_the_known_range() -> None:
    values, rows = table(300), rows_to_fill(40)
    skewed = PLAIN.copy()
    skewed[[0, TARGET]] = True
    values[:, [0, TARGET]] = np.exp(values[:, [0, TARGET]])
    rows[:, 0] = np.exp(rows[:, 0])
    donors = make_donors(values, skewed)
    regression = fit_regression(donors, TARGET)
    assert regression is not None
    others = [i for i in range(6) if i != TARGET]
    known = ~np.isnan(values[:, TARGET])

    def filled(table: np.ndarray) -> np.ndarray:
        scaled = scale(table, donors)[:, others] / 1024
        return np.where(np.isnan(scaled), np.nanmedian(donors.scaled[:, others], axis=0) / 1024, scaled)

    ridge = Ridge(alpha=0.01 * known.sum()).fit(filled(values)[known], np.log1p(values[known, TARGET]))
    told = np.expm1(ridge.predict(filled(rows)))
    expected = np.clip(told, values[known, TARGET].min(), values[known, TARGET].max())
    np.testing.assert_allclose(impute_by_regression(rows, regression, donors), expected, rtol=1e-9)


def test_what_is_told_stays_within_what_was_seen() -> None:
    values = np.column_stack([np.arange(20.0), np.arange(20.0) / 20])
    donors = make_donors(values, np.zeros(2, dtype=bool))
    regression = fit_regression(donors, 1)
    assert regression is not None
    told = impute_by_regression(np.array([[-1e9, np.nan], [1e9, np.nan]]), regression, donors)
    assert told.tolist() == [0.0, 0.95]


def test_a_known_relation_is_recovered_where_the_mean_knows_nothing() -> None:
    values = np.random.default_rng(5).normal(size=(500, 6))
    values[:, TARGET] = 2 * values[:, 0] - values[:, 1] + 0.1 * values[:, TARGET]
    hidden = values[400:, TARGET].copy()
    rows = values[400:].copy()
    rows[:, TARGET] = np.nan
    donors = make_donors(values[:400], PLAIN)
    regression = fit_regression(donors, TARGET)
    assert regression is not None
    spread = np.abs(hidden - hidden.mean()).mean()
    by_regression = np.abs(impute_by_regression(rows, regression, donors) - hidden).mean()
    by_neighbours = np.abs(impute_by_neighbours(rows, TARGET, donors, 10) - hidden).mean()
    assert by_regression < 0.1 * spread
    assert by_neighbours < 0.6 * spread


def test_a_value_is_the_same_to_the_bit_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    donors, rows = make_donors(table(400), PLAIN), rows_to_fill(101)
    regression = fit_regression(donors, TARGET)
    assert regression is not None
    near, told = impute_by_neighbours(rows, TARGET, donors, 5), impute_by_regression(rows, regression, donors)
    monkeypatch.setattr(imputation, "_DISTANCES_AT_ONCE", 1000)
    order = np.random.default_rng(1).permutation(101)
    assert impute_by_neighbours(rows[order], TARGET, donors, 5).tobytes() == near[order].tobytes()
    alone = np.concatenate([impute_by_regression(row[None], regression, donors) for row in rows])
    assert alone.tobytes() == told.tobytes()


@pytest.mark.parametrize("n_donors", [0, 1, 2])
def test_few_donors_say_little_and_none_say_nothing(n_donors: int) -> None:
    values = table(2, gaps=0.0)[:n_donors]
    donors, rows = make_donors(values, PLAIN), rows_to_fill(3)
    near = impute_by_neighbours(rows, TARGET, donors, 5)
    regression = fit_regression(donors, TARGET)
    if n_donors == 2:
        np.testing.assert_allclose(near, values[:, TARGET].mean())
        assert regression is not None
        assert np.isfinite(impute_by_regression(rows, regression, donors)).all()
    else:  # one donor has no spread to compare by
        assert np.isnan(near).all()
        assert (regression is None) == (n_donors == 0)
    assert impute_by_neighbours(rows[:0], TARGET, donors, 5).shape == (0,)


def test_a_column_that_no_donor_knows_stays_unknown() -> None:
    values = table(50)
    values[:, TARGET] = np.nan
    donors = make_donors(values, PLAIN)
    assert fit_regression(donors, TARGET) is None
    assert np.isnan(impute_by_neighbours(rows_to_fill(3), TARGET, donors, 5)).all()
