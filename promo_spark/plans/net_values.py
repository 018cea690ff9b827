"""What each offer is worth once what it uses of scarce budget and volume is paid for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.rows import local_frame
from promo_spark.kernels.allocation_problem import AllocationProblem, price_tables

NET_VALUE = "net_value_amount"
_PRICES = T.StructType(
    [
        T.StructField("cell", T.IntegerType()),
        T.StructField("promotion_id", T.StringType()),
        *(T.StructField(name, T.DoubleType()) for name in ("_factor", "_cost_price", "_flat_price")),
    ]
)


def net_values(
    *,
    offers: DataFrame,
    cells: DataFrame,
    problem: AllocationProblem,
    multipliers: np.ndarray,
    promotions: Sequence[str],
) -> DataFrame:
    """Add the net value: value less shadow prices times what the offer uses.

    Args:
        offers: plans.offers.
        cells: customer_id and ``cell``.
        problem: What the allocation solved.
        multipliers: Shadow prices of its rows, shape (rows,), as signed in the dual.
        promotions: The promotions by their number.

    Returns:
        The offers with ``net_value_amount``, minus infinity where a limit of nothing forbids the offer.
    """
    tables = price_tables(problem, multipliers)
    rows = [
        (cell, promotion, *(float(table[cell, number]) for table in tables[:3]))
        for cell in range(problem.cell_count)
        for number, promotion in enumerate(promotions)
    ]
    prices = local_frame(offers.sparkSession, rows, _PRICES)
    priced = offers.join(cells, "customer_id", "inner").join(F.broadcast(prices), ["cell", "promotion_id"], "inner")
    net = F.col("value_amount") * F.col("_factor") - F.col("cost_amount") * F.col("_cost_price") - F.col("_flat_price")
    return priced.withColumn(NET_VALUE, net).drop("_factor", "_cost_price", "_flat_price")
