"""Measures of shopping histories, against sums worked out one customer at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promo_spark.kernels.shopping_history import HISTORY_FEATURES, label_histories, measure_histories

CUT = 400
DAYS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 450), st.integers(0, 500)), max_size=60)


def packed(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row per customer and day, in order."""
    days = {(owner, day): float(amount) for owner, day, amount in rows}
    owners = np.array([owner for owner, _ in sorted(days)], dtype=np.int64)
    return (
        owners,
        np.array([day for _, day in sorted(days)], dtype=np.int64),
        np.array([days[key] for key in sorted(days)]),
    )


def measured(rows: list[tuple[int, int, int]], count: int = 4) -> list[dict[str, float]]:
    table = measure_histories(*packed(rows), count=count, cut=CUT)
    return [dict(zip(HISTORY_FEATURES, row, strict=True)) for row in table.tolist()]


@given(DAYS)
def test_one_customer_at_a_time_gives_the_same(rows: list[tuple[int, int, int]]) -> None:
    owners, days, amounts = packed(rows)
    for owner, found in enumerate(measured(rows)):
        mine = (owners == owner) & (days < CUT)
        if not mine.any():
            assert all(np.isnan(value) for value in found.values())
            continue
        ages, spent = CUT - days[mine], amounts[mine]
        gaps = np.diff(days[mine])
        tenure, recency = ages.max(), ages.min()
        mean_gap = gaps.mean() if len(gaps) else tenure
        weeks = {(age - 1) // 7 for age in ages if age <= 91}
        expected = {
            "recency_log": np.log1p(recency),
            "tenure_log": np.log1p(tenure),
            "gap_log": np.log1p(mean_gap),
            "gap_sd_log": np.log1p(gaps.std() if len(gaps) else 0.0),
            "overdue_log": np.log((1 + recency) / (1 + mean_gap)),
            "longer_gap_rate": (np.sum(gaps >= recency) + 1) / (len(gaps) + 2),
            "day_spend_root": np.sqrt(spent.mean()),
            "visits_56d_root": np.sqrt(np.sum(ages <= 56) / np.clip(tenure, 14, 56) * 28),
            "spend_28d_root": np.sqrt(spent[ages <= 28].sum() / np.clip(tenure, 14, 28) * 28),
            "spend_1_periods_before_root": np.sqrt(spent[(ages > 28) & (ages <= 56)].sum()),
            "active_weeks_91d_rate": len(weeks) / np.clip(np.ceil(tenure / 7), 2, 13),
        }
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6), name


@given(DAYS)
def test_the_future_changes_nothing(rows: list[tuple[int, int, int]]) -> None:
    past = [row for row in rows if row[1] < CUT]
    assert np.array_equal(
        measure_histories(*packed(rows), count=4, cut=CUT),
        measure_histories(*packed(past), count=4, cut=CUT),
        equal_nan=True,
    )


@given(DAYS)
def test_four_times_the_spend_doubles_roots_of_spend_only(rows: list[tuple[int, int, int]]) -> None:
    more = [(owner, day, 4 * amount) for owner, day, amount in rows]
    for one, other in zip(measured(rows), measured(more), strict=True):
        for name, value in one.items():
            factor = 2 if "spend" in name else 1
            assert other[name] == pytest.approx(factor * value, abs=1e-9, nan_ok=True), name


def test_a_steady_customer_has_one_rate_in_every_window() -> None:
    """Every other day 10 for long: 14 visits and 140 a period, however it is weighed."""
    found = measured([(0, day, 10) for day in range(1, CUT, 2)], count=1)[0]
    for name, value in found.items():
        if name.startswith("spend_") and "trend" not in name:
            assert value**2 == pytest.approx(140, rel=0.15), name
        if name.startswith("visits_"):
            assert value**2 == pytest.approx(14, rel=0.15), name
    assert found["spend_trend_root"] == pytest.approx(0, abs=0.2)


def test_labels_start_on_the_first_day_and_end_before_the_horizon() -> None:
    rows = [(0, 399, 1), (0, 400, 2), (1, 409, 4), (1, 410, 8)]
    visits, spend = label_histories(*packed(rows), count=3, first=400, horizon=10)
    assert visits.tolist() == [1, 1, 0]
    assert spend.tolist() == [2.0, 4.0, 0.0]
