"""Each customer's purchases, promotions and decisions in one row, and what they say at every decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.arrow_matrices import lists_of
from promo_spark.kernels.decision_covariates import (
    PROMOTION_FACTS,
    Decisions,
    PromotionEvents,
    Purchases,
    measure_decisions,
)
from promo_spark.kernels.decision_outcomes import DECISION_OUTCOMES, measure_outcomes

CUSTOMERS_PER_BLOCK = 512
_DECISIONS, _PURCHASES, _GIVEN, _REDEEMED = "decisions", "purchases", "given", "redeemed"
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def measure_pairs(*, pairs: DataFrame, purchases: DataFrame, given: DataFrame, redeemed: DataFrame) -> DataFrame:
    """Measure what was known before each decision for a customer, and what followed it.

    Args:
        pairs: One row per decision and customer: customer_id; day, end_day and carried_day (day numbers of the
            decision, and after the window and the carry-over); promotion and arm, numbers of what was decided on;
            the ``PROMOTION_FACTS``; any further columns.
        purchases: customer_id, day, product, sales, discount, coupon and margin in ``1 / UNITS``, covers (numbers of
            the promotions that cover the product), related (of those that cover anything of its category); one row per
            customer, day and product.
        given: customer_id, day, promotion, arm of what customers were given.
        redeemed: The same of what they redeemed.

    Returns:
        The pairs, with covariates and a column for each of ``DECISION_OUTCOMES``.
    """
    fields = [name for name in pairs.columns if name != "customer_id"]
    packed = pairs.groupBy("customer_id").agg(F.collect_list(F.struct(*fields)).alias(_DECISIONS))
    bought = ("day", "product", "sales", "discount", "coupon", "margin", "covers", "related")
    for name, frame, columns in (
        (_PURCHASES, purchases, bought),
        (_GIVEN, given, ("day", "promotion", "arm")),
        (_REDEEMED, redeemed, ("day", "promotion", "arm")),
    ):
        lists = frame.groupBy("customer_id").agg(F.array_sort(F.collect_list(F.struct(*columns))).alias(name))
        packed = packed.join(lists, "customer_id", "left")
    measured = [
        T.StructField("covariates", T.ArrayType(T.DoubleType(), containsNull=False)),
        *(T.StructField(name, T.DoubleType()) for name in DECISION_OUTCOMES),
    ]
    plain = [pairs.schema["customer_id"], *(pairs.schema[name] for name in fields)]
    return packed.mapInArrow(_measurer(fields), T.StructType([*plain, *measured]))


def _measurer(fields: list[str]) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, CUSTOMERS_PER_BLOCK):
                yield _measured(batch.slice(start, CUSTOMERS_PER_BLOCK), fields)

    return measure


def _measured(block: pa.RecordBatch, fields: list[str]) -> pa.RecordBatch:
    owners, columns = _unpacked(block.column(_DECISIONS))
    number = {name: _integers(columns[name]) for name in ("day", "end_day", "carried_day", "promotion", "arm")}
    facts = np.column_stack([columns[name].to_numpy(zero_copy_only=False) for name in PROMOTION_FACTS])
    decisions = Decisions(owners, number["day"], number["promotion"], number["arm"], facts.astype(np.float64))
    purchases = _purchases(block.column(_PURCHASES))
    given, redeemed = (_events(block.column(name)) for name in (_GIVEN, _REDEEMED))
    table = measure_decisions(decisions, purchases=purchases, given=given, redeemed=redeemed, count=block.num_rows)
    outcomes = measure_outcomes(
        decisions, number["end_day"], number["carried_day"], purchases=purchases, redeemed=redeemed
    )
    arrays = [
        block.column("customer_id").take(pa.array(owners)),
        *(columns[name] for name in fields),
        lists_of(table),
        *(pa.array(np.ascontiguousarray(values)) for values in outcomes.T),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=["customer_id", *fields, "covariates", *DECISION_OUTCOMES])


def _purchases(lists: pa.ListArray) -> Purchases:
    owners, columns = _unpacked(lists)
    amounts = np.column_stack([_integers(columns[name]) for name in ("sales", "discount", "coupon", "margin")])
    return Purchases(
        owners,
        _integers(columns["day"]),
        _integers(columns["product"]),
        amounts,
        *_flat_lists(columns["covers"]),
        *_flat_lists(columns["related"]),
    )


def _flat_lists(lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return counts, _integers(lists.flatten())


def _events(lists: pa.ListArray) -> PromotionEvents:
    owners, columns = _unpacked(lists)
    return PromotionEvents(owners, *(_integers(columns[name]) for name in ("day", "promotion", "arm")))


def _unpacked(lists: pa.ListArray) -> tuple[np.ndarray, dict[str, pa.Array]]:
    """Row of each element, and the elements' fields."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    flat = lists.flatten()
    names = [flat.type.field(place).name for place in range(flat.type.num_fields)]
    return np.repeat(np.arange(len(lists)), lengths), dict(zip(names, flat.flatten(), strict=True))


def _integers(values: pa.Array) -> np.ndarray:
    numbers: np.ndarray = values.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
