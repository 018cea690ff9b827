import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promo_spark.kernels.block_bootstrap import (
    alternating_folds,
    block_bootstrap_weights,
    count_blocks,
    interval,
)
from promo_spark.kernels.multiple_testing import benjamini_hochberg


@given(n_weeks=st.integers(2, 60), block_weeks=st.integers(1, 10))
def test_folds_share_no_week_and_leave_none_out(n_weeks: int, block_weeks: int) -> None:
    selection, evaluation = alternating_folds(n_weeks, block_weeks)
    assert (selection ^ evaluation).all()
    assert 0 <= count_blocks(selection, block_weeks) - count_blocks(evaluation, block_weeks) <= 1


@given(n_weeks=st.integers(2, 60), block_weeks=st.integers(1, 10), seed=st.integers(0, 99))
def test_whole_blocks_of_the_fold_are_drawn(n_weeks: int, block_weeks: int, seed: int) -> None:
    fold = alternating_folds(n_weeks, block_weeks)[0]
    counts = block_bootstrap_weights(n_weeks, block_weeks, 20, seed, fold)
    assert (counts[:, ~fold] == 0).all()
    starts = np.arange(0, n_weeks, block_weeks)
    np.testing.assert_array_equal(counts, np.repeat(counts[:, starts], block_weeks, axis=1)[:, :n_weeks])
    assert (counts[:, starts].sum(axis=1) == count_blocks(fold, block_weeks)).all()


@given(n_weeks=st.integers(2, 60), block_weeks=st.integers(2, 10))
def test_gap_parts_the_folds_by_a_week_and_keeps_every_block(n_weeks: int, block_weeks: int) -> None:
    selection, evaluation = alternating_folds(n_weeks, block_weeks, gap_weeks=1)
    assert not (selection[:-1] & evaluation[1:]).any()
    assert not (evaluation[:-1] & selection[1:]).any()
    assert (selection | evaluation).sum() == n_weeks - (n_weeks - 1) // block_weeks


def test_each_block_comes_once_on_average() -> None:
    fold = np.ones(40, dtype=np.bool_)
    counts = block_bootstrap_weights(40, 4, 20_000, 0, fold)
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=4 * np.sqrt(0.9 / 20_000))
    np.testing.assert_allclose(counts.var(axis=0), 0.9, rtol=0.05)


def test_same_seed_draws_the_same_and_another_does_not() -> None:
    fold = np.ones(40, dtype=np.bool_)
    first, again, other = (block_bootstrap_weights(40, 4, 50, seed, fold) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_empty_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one of 4 weeks"):
        block_bootstrap_weights(4, 2, 1, 0, np.zeros(4, dtype=np.bool_))


def test_blocks_below_a_week_and_gaps_that_leave_none_are_refused() -> None:
    with pytest.raises(ValueError, match="block_weeks must be at least 1"):
        alternating_folds(4, 0)
    with pytest.raises(ValueError, match="gap_weeks must be"):
        alternating_folds(4, 2, gap_weeks=2)


def test_interval_follows_the_quantiles_of_the_draws() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, (200_000, 2))
    found = interval(draws, np.array([3.0, 3.0]), level=0.9)
    np.testing.assert_allclose(found.lower, 3.0 - 1.645 * 2.0, atol=0.03)
    np.testing.assert_allclose(found.upper, 3.0 + 1.645 * 2.0, atol=0.03)
    np.testing.assert_allclose(found.p_value, 0.0668, atol=0.003)


def test_few_blocks_widen_the_interval_by_student_over_normal() -> None:
    draws, point = np.random.default_rng(0).normal(size=1000), np.array(0.5)
    plain, wide = interval(draws, point), interval(draws, point, n_blocks=6)
    assert wide.lower - point == pytest.approx((plain.lower - point) * 2.5706 / 1.9600, rel=1e-4)
    assert wide.upper - point == pytest.approx((plain.upper - point) * 2.5706 / 1.9600, rel=1e-4)
    assert interval(draws, point, n_blocks=10**6).lower == pytest.approx(plain.lower, rel=1e-4)


def test_one_strong_value_among_many_tests_can_be_found() -> None:
    draws = np.random.default_rng(4).normal([50.0, 2.0], 1.0, size=(399, 2))
    strong, weak = interval(draws, np.array([50.0, 2.0]), n_blocks=6).p_value
    assert strong == pytest.approx(stats.t.sf(50.0 / draws[:, 0].std(ddof=1), 5))
    assert weak > 1 / 400
    assert benjamini_hochberg(np.r_[strong, np.full(479, 0.5)], rate=0.1)[0][0]


def test_p_value_is_never_zero() -> None:
    assert interval(np.full(99, 5.0), np.array(5.0)).p_value == 0.01
    assert interval(np.full(99, -5.0), np.array(-5.0)).p_value == 1.0


@pytest.mark.parametrize(("level", "n_blocks"), [(0.0, None), (1.0, None), (0.9, 1)])
def test_interval_refuses_what_has_no_answer(level: float, n_blocks: int | None) -> None:
    with pytest.raises(ValueError, match=r"level must be|at least 2 blocks"):
        interval(np.zeros(9), np.array(0.0), level, n_blocks)
