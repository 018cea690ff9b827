"""Sums and shares that come out the same however the rows are spread over partitions."""

from __future__ import annotations

from decimal import Decimal

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.table import MONEY

_EXACT = T.DecimalType(28, 10)
_HUNDREDTH = Decimal("0.01")


def exact(value: Expression) -> Expression:
    """A double as a decimal with ten places: sums of decimals do not depend on the order of the rows."""
    return value.cast(_EXACT)


def exact_sum(value: Expression) -> Expression:
    """Sum of doubles, the same for any order of rows."""
    return F.sum(exact(value)).cast(T.DoubleType())


def exact_mean(value: Expression) -> Expression:
    """Mean of doubles, the same for any order of rows; NULLs are left out."""
    return exact_sum(value) / F.count(value)


def share(part: Expression, whole: Expression) -> Expression:
    """``part / whole`` as a double; NULL where the whole is not positive."""
    return F.when(whole > 0, part.cast(T.DoubleType()) / whole.cast(T.DoubleType()))


def money(value: Expression) -> Expression:
    """A sum of amounts as money; a sum over no rows is zero."""
    return F.coalesce(value, F.lit(0)).cast(MONEY)


def sum_amount(amount: Expression) -> Expression:
    """Exact sum of amounts with two places, added up in whole hundredths.

    Sums of decimals this wide make an object per row and take three times the CPU time.
    """
    # rint, because round goes by way of an object as well.
    hundredths = F.sum(F.rint(amount.cast(T.DoubleType()) * 100).cast(T.LongType()))
    return hundredths.cast(T.DecimalType(20, 0)) * F.lit(_HUNDREDTH)


def when_sum(condition: Expression, amount: Expression) -> Expression:
    """Sum of amounts over the rows for which the condition holds; NULL when there are none."""
    return sum_amount(F.when(condition, amount))


def has_rows(frame: DataFrame, name: str) -> DataFrame:
    """Say lazily whether a frame holds any rows.

    Returns:
        One row with the Boolean ``name``; small, so that it can be cross-joined.
    """
    return F.broadcast(frame.select(F.lit(1)).limit(1).agg((F.count("*") > 0).alias(name)))
