"""What a customer's shopping days before a cut say of what comes after it, for many customers at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WINDOWS = (7, 14, 28, 56, 91, 182)
_HALF_LIVES = (14, 28, 91)
_ACTIVE_WINDOWS = (91, 182)
_PERIOD = 28
_EARLIER_PERIODS = (1, 2, 3)
# Rates of customers known for less than two weeks are taken over two weeks: one visit is no habit yet.
_SHORTEST = 14.0
_WEEK = 7

HISTORY_FEATURES = (
    "recency_log",
    "tenure_log",
    "gap_log",
    "gap_sd_log",
    "longest_gap_log",
    "overdue_log",
    "overdue_longest_log",
    "longer_gap_rate",
    "day_spend_root",
    *(f"visits_{days}d_root" for days in _WINDOWS),
    *(f"spend_{days}d_root" for days in _WINDOWS),
    *(f"visits_half_life_{days}d_root" for days in _HALF_LIVES),
    *(f"spend_half_life_{days}d_root" for days in _HALF_LIVES),
    *(f"active_weeks_{days}d_rate" for days in _ACTIVE_WINDOWS),
    *(f"spend_{period}_periods_before_root" for period in _EARLIER_PERIODS),
    "visit_trend_root",
    "spend_trend_root",
)


def measure_histories(owners: Ints, days: Ints, amounts: Floats, *, count: int, cut: int) -> Floats:
    """Recency, rhythm, visits and spend of each customer before a cut.

    Rates are per 28 days of the time the customer has been known, so that those known for less than a window are
    not taken for rare visitors. Amounts and counts come as square roots: their spread then hardly depends on
    their size, and zero stays zero. What happens on the cut or later changes nothing.

    Args:
        owners: Customer of each shopping day, 0 to count - 1, ascending, shape (shopping days,).
        days: Day number, ascending within a customer, shape (shopping days,).
        amounts: Spend of the day, shape (shopping days,), currency.
        count: Customers.
        cut: First day that is not looked at.

    Returns:
        Shape (count, len(HISTORY_FEATURES)); NaN for customers without a shopping day before the cut.

    Complexity: O(shopping days × windows). Source: recency, frequency and monetary value as in Fader, Hardie and
    Lee 2005, beside windows, decayed sums and gaps between visits.
    """
    past = days < cut
    owners, days, amounts = owners[past], days[past], np.maximum(amounts[past], 0.0)
    ages = (cut - days).astype(np.float64)
    visits = _sums(owners, None, count)
    tenure, recency = np.zeros(count), np.full(count, np.inf)
    np.maximum.at(tenure, owners, ages)
    np.minimum.at(recency, owners, ages)
    windows = {window: ages <= window for window in _WINDOWS}
    known = {window: np.clip(tenure, min(window, _SHORTEST), window) / _PERIOD for window in _WINDOWS}
    visit_rates = [_sums(owners[near], None, count) / known[window] for window, near in windows.items()]
    spend_rates = [_sums(owners[near], amounts[near], count) / known[window] for window, near in windows.items()]
    day_spend = _sums(owners, amounts, count) / np.maximum(visits, 1)
    earlier = [
        _sums(owners[near], amounts[near], count)
        for near in ((ages > _PERIOD * p) & (ages <= _PERIOD * (p + 1)) for p in _EARLIER_PERIODS)
    ]
    roots = np.sqrt(np.column_stack([day_spend, *visit_rates, *spend_rates, *_decayed(owners, ages, amounts, tenure)]))
    active = [_active_weeks(owners, ages, tenure, window) for window in _ACTIVE_WINDOWS]
    month, quarter = (1 + _WINDOWS.index(28), 1 + _WINDOWS.index(91))
    trends = [roots[:, month + shift] - roots[:, quarter + shift] for shift in (0, len(_WINDOWS))]
    table = np.column_stack([*_rhythm(owners, days, recency, tenure), roots, *active, *np.sqrt(earlier), *trends])
    table[visits == 0] = np.nan
    return table


def label_histories(
    owners: Ints, days: Ints, amounts: Floats, *, count: int, first: int, horizon: int
) -> tuple[Ints, Floats]:
    """Shopping days and spend of each customer in ``horizon`` days from ``first`` on.

    Args:
        owners: Customer of each shopping day, 0 to count - 1, shape (shopping days,).
        days: Day number, shape (shopping days,).
        amounts: Spend of the day, shape (shopping days,), currency.
        count: Customers.
        first: First day of the window.
        horizon: Its length, days.

    Returns:
        Shopping days and spend, each of shape (count,).

    >>> owners, days = np.array([0, 0, 1]), np.array([3, 5, 9])
    >>> label_histories(owners, days, np.array([1.0, 2.0, 4.0]), count=2, first=4, horizon=5)
    (array([1, 0]), array([2., 0.]))
    """
    near = (days >= first) & (days < first + horizon)
    return np.bincount(owners[near], minlength=count), _sums(owners[near], amounts[near], count)


def _sums(owners: Ints, weights: Floats | None, count: int) -> Floats:
    return np.bincount(owners, weights, minlength=count).astype(np.float64)


def _decayed(owners: Ints, ages: Floats, amounts: Floats, tenure: Floats) -> list[Floats]:
    """Visits, then spend, per 28 days, a day's weight halving with each half-life."""
    visits, spend = [], []
    for half_life in _HALF_LIVES:
        weights = 0.5 ** (ages / half_life)
        observed = (1 - 0.5 ** (np.maximum(tenure, _SHORTEST) / half_life)) * half_life / np.log(2) / _PERIOD
        visits.append(_sums(owners, weights, len(tenure)) / observed)
        spend.append(_sums(owners, weights * amounts, len(tenure)) / observed)
    return [*visits, *spend]


def _rhythm(owners: Ints, days: Ints, recency: Floats, tenure: Floats) -> list[Floats]:
    """Recency and tenure, gaps between shopping days, and how long the present one is beside them."""
    count = len(tenure)
    same = owners[1:] == owners[:-1]
    of, gaps = owners[1:][same], np.diff(days)[same].astype(np.float64)
    gap_counts = _sums(of, None, count)
    counted = np.maximum(gap_counts, 1)
    mean = np.where(gap_counts > 0, _sums(of, gaps, count) / counted, tenure)
    variance = _sums(of, gaps * gaps, count) / counted - mean * mean
    longest = np.zeros(count)
    np.maximum.at(longest, of, gaps)
    longer = _sums(of, (gaps >= recency[of]).astype(np.float64), count)
    away = np.where(np.isfinite(recency), recency, 0.0)
    return [
        np.log1p(away),
        np.log1p(tenure),
        np.log1p(mean),
        np.log1p(np.sqrt(np.maximum(np.where(gap_counts > 0, variance, 0.0), 0.0))),
        np.log1p(longest),
        np.log1p(away) - np.log1p(mean),
        np.log1p(away) - np.log1p(longest),
        (longer + 1) / (gap_counts + 2),
    ]


def _active_weeks(owners: Ints, ages: Floats, tenure: Floats, window: int) -> Floats:
    """Share of the weeks before the cut, as far as the customer was known, with a shopping day."""
    weeks = window // _WEEK
    week = ((ages - 1) // _WEEK).astype(np.int64)
    near = week < weeks
    active = np.unique(owners[near] * weeks + week[near]) // weeks
    known: Floats = np.clip(np.ceil(tenure / _WEEK), 2, weeks)
    return _sums(active, None, len(tenure)) / known
