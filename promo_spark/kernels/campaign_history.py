"""What customers did in the periods around a campaign, and what of it describes them before."""

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.gram_regression import fit_standardiser

Floats = NDArray[np.float64]

MEASURES = (
    "sales_amount",
    "margin_amount",
    "discount_amount",
    "visit_count",
    "covered_sales_amount",
    "untouched_sales_amount",
    "coupon_amount",
    "campaign_count",
)
"""What is summed per customer and period; covered are products of the campaign, untouched categories that have none."""

COVARIATES = (
    "sales",
    "sales_root",
    "sales_late_root",
    "sales_last_root",
    "visits_root",
    "visits_last_root",
    "active_rate",
    "quiet_log",
    "discount_rate",
    "covered_root",
    "covered_rate",
    "coupons_root",
    "campaigns_root",
    "campaigns_last",
)
"""What describes a customer before a campaign: amounts and counts are means per period."""


def describe_before(periods: Floats) -> Floats:
    """Covariates of each customer from the periods before.

    Args:
        periods: Shape (n_rows, len(MEASURES), n_periods), at least one period.

    Returns:
        Shape (n_rows, len(COVARIATES)), finite.

    >>> one = np.zeros((1, len(MEASURES), 2))
    >>> one[0, MEASURES.index("sales_amount")] = [0.0, 8.0]
    >>> one[0, MEASURES.index("visit_count")] = [0.0, 1.0]
    >>> dict(zip(COVARIATES, describe_before(one)[0].tolist()))["sales_root"]
    2.0
    """
    of = {name: periods[:, place] for place, name in enumerate(MEASURES)}
    sales, visits = of["sales_amount"], of["visit_count"]
    mean = {name: values.mean(axis=1) for name, values in of.items()}
    late = sales[:, sales.shape[1] // 2 :].mean(axis=1)
    is_active = visits > 0
    quiet = np.where(is_active.any(axis=1), is_active[:, ::-1].argmax(axis=1), visits.shape[1])
    return np.column_stack(
        [
            mean["sales_amount"],
            _root(mean["sales_amount"]),
            _root(late),
            _root(sales[:, -1]),
            _root(mean["visit_count"]),
            _root(visits[:, -1]),
            is_active.mean(axis=1),
            np.log1p(quiet),
            _rate(mean["discount_amount"], mean["sales_amount"] + mean["discount_amount"]),
            _root(mean["covered_sales_amount"]),
            _rate(mean["covered_sales_amount"], mean["sales_amount"]),
            _root(mean["coupon_amount"]),
            _root(mean["campaign_count"]),
            np.minimum(of["campaign_count"][:, -1], 1.0),
        ]
    )


def plain_design(covariates: Floats) -> Floats:
    """A leading 1 and the covariates, winsorised and standardised; 0 where one does not vary.

    >>> plain_design(np.array([[0.0, 1.0], [2.0, 1.0]])).tolist()
    [[1.0, -1.0, 0.0], [1.0, 1.0, 0.0]]
    """
    standardiser = fit_standardiser(covariates)
    return standardiser.design(covariates)[:, : 1 + covariates.shape[1]]


def _root(values: Floats) -> Floats:
    return np.sqrt(np.maximum(values, 0.0))


def _rate(part: Floats, whole: Floats) -> Floats:
    return np.clip(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0), 0.0, 1.0)
