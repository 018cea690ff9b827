"""Lifetime value: how often each customer will still buy, and for how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml import Model
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from sklearn.metrics import log_loss, roc_auc_score

from promo_spark.contracts.segments import HISTORIES, PURCHASE_SUMMARIES
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.kernels.bg_nbd import BgNbd, expected_purchases, fit_bg_nbd, purchase_probability
from promo_spark.kernels.gamma_gamma import GammaGamma, expected_amounts, fit_gamma_gamma
from promo_spark.kernels.lifetime_value import value_lifetimes
from promo_spark.segments.behaviour import Judgement

BG_NBD = "bg_nbd"
LEAST_REPEATERS = 30
"""Fewer who bought again are no ground for a model."""
SUMMARY = ("purchase_day_count", "active_days", "tenure_days", "purchase_amount")
TOLD = ("alive_prob", "expected_purchase_count", "expected_purchase_amount", "lifetime_value_amount")
_EPOCH = date(1970, 1, 1)
_Valuer = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class LifetimeFitError(ValueError):
    """Raised when lifetime value cannot be learnt; the message says why."""


@dataclass(frozen=True)
class LifetimeFit:
    """What was learnt of all customers.

    Attributes:
        purchases: BG/NBD, in days.
        amounts: Gamma-gamma, of a purchase day's amount.
        log_likelihood: Of both, per customer.
        correlation: Of the number of purchase days with their mean amount; the models take it to be nil.
    """

    purchases: BgNbd
    amounts: GammaGamma
    log_likelihood: float
    correlation: float


@dataclass(frozen=True)
class LifetimeTrial:
    """How a fit at an earlier cut did on what followed.

    Attributes:
        judged: Beside the other models of churn and of spend; of churn none where all left or all stayed.
        purchase_ratio: Purchase days expected over those that came; none where none did.
        spend_ratio: The same of spend.
    """

    judged: tuple[Judgement, ...]
    purchase_ratio: float | None
    spend_ratio: float | None


@dataclass(frozen=True)
class _Customers:
    """Columns of purchase summaries as the kernels take them, each of shape (customers,)."""

    repeats: npt.NDArray[np.int64]
    last: npt.NDArray[np.float64]
    age: npt.NDArray[np.float64]
    spend: npt.NDArray[np.float64]


@produces(PURCHASE_SUMMARIES, histories=HISTORIES)
def summarise_purchases(*, histories: DataFrame, as_of_date: date) -> DataFrame:
    """Count each customer's purchase days before a date: several baskets of a day are one purchase.

    Args:
        histories: segments.histories.
        as_of_date: Days on or after this date are ignored.

    Returns:
        segments.purchase_summaries, one row per customer with a purchase before the date.
    """
    cut = (as_of_date - _EPOCH).days
    count = F.size(F.filter("shopping_days", lambda day: day < F.lit(cut)))
    amounts = F.slice("spend_amounts", F.lit(1), F.col("_count"))
    return (
        histories.withColumn("_count", count)
        .where(F.col("_count") > 0)
        .select(
            "customer_id",
            F.lit(as_of_date).alias(AS_OF_DATE),
            F.col("_count").cast("long").alias("purchase_day_count"),
            (F.col("shopping_days")[F.col("_count") - 1] - F.col("shopping_days")[0]).cast("long").alias("active_days"),
            (F.lit(cut) - F.col("shopping_days")[0]).cast("long").alias("tenure_days"),
            F.aggregate(amounts, F.lit(0.0), lambda sum_, spend: sum_ + F.greatest(spend, F.lit(0.0))).alias(
                "purchase_amount"
            ),
        )
    )


def fit_lifetimes(summaries: pa.Table) -> LifetimeFit:
    """Learn how customers buy again and leave, and how their amounts are spread.

    Args:
        summaries: segments.purchase_summaries of a bounded sample of customers.

    Returns:
        Parameters of both models.

    Raises:
        LifetimeFitError: Too few bought again, or nothing, or a likelihood has no highest point.
    """
    customers = _customers(summaries)
    repeaters = int((customers.repeats > 0).sum())
    if repeaters < LEAST_REPEATERS:
        raise LifetimeFitError(f"{repeaters} customers bought on a second day, and it takes {LEAST_REPEATERS}.")
    counts = (customers.repeats + 1).astype(np.float64)
    means = customers.spend / counts
    paid = means > 0
    if paid.sum() < LEAST_REPEATERS:
        raise LifetimeFitError(f"{int(paid.sum())} customers bought for more than nothing.")
    purchases = fit_bg_nbd(customers.repeats, customers.last, customers.age)
    amounts = fit_gamma_gamma(counts[paid], means[paid])
    for name, fit in (("BG/NBD", purchases), ("gamma-gamma", amounts)):
        if not fit.is_converged:
            raise LifetimeFitError(f"the likelihood of {name} has no highest point on these customers.")
    varied = min(float(np.ptp(counts[paid])), float(np.ptp(means[paid]))) > 0
    return LifetimeFit(
        purchases.parameters,
        amounts.parameters,
        (purchases.log_likelihood + amounts.log_likelihood) / len(counts),
        float(np.corrcoef(counts[paid], means[paid])[0, 1]) if varied else 0.0,
    )


def judge_lifetimes(*, before: pa.Table, now: pa.Table, horizon_days: int) -> LifetimeTrial:
    """How well a fit at an earlier cut told who would buy until now, and what they would spend.

    Args:
        before: segments.purchase_summaries of a sample at the cut.
        now: The same customers at the date.
        horizon_days: Days between the two.

    Returns:
        How it did.

    Raises:
        LifetimeFitError: As `fit_lifetimes`, at the cut.
    """
    fit, customers = fit_lifetimes(before), _customers(before)
    later = _customers(now.take(pc.index_in(before["customer_id"], now["customer_id"])))
    known = customers.repeats, customers.last, customers.age
    counts = (customers.repeats + 1).astype(np.float64)
    bought = expected_purchases(fit.purchases, *known, horizon_days)
    spend = bought * expected_amounts(fit.amounts, counts, customers.spend / counts)
    days, spent = later.repeats - customers.repeats, later.spend - customers.spend
    judged = [Judgement("spend", BG_NBD, len(counts), mae=float(np.abs(spend - spent).mean()))]
    left = days == 0
    if 0 < left.sum() < len(left):
        leaves = 1.0 - purchase_probability(fit.purchases, *known, horizon_days)
        area, loss = float(roc_auc_score(left, leaves)), float(log_loss(left, leaves))
        judged.append(Judgement("churn", BG_NBD, len(left), auc=area, log_loss=loss))
    ratios = [
        float(told.sum() / came.sum()) if came.sum() > 0 else None for told, came in ((bought, days), (spend, spent))
    ]
    return LifetimeTrial(tuple(judged), *ratios)


class LifetimeValueModel(Model, DefaultParamsReadable["LifetimeValueModel"], DefaultParamsWritable):
    """Adds to purchase summaries what is expected of each customer: the columns ``TOLD``."""

    purchases = Param(Params._dummy(), "purchases", "r, alpha (days), a and b of BG/NBD", TypeConverters.toListFloat)
    amounts = Param(Params._dummy(), "amounts", "p, q and v of gamma-gamma", TypeConverters.toListFloat)
    horizonDays = Param(Params._dummy(), "horizonDays", "days looked ahead", TypeConverters.toInt)  # noqa: N815
    discountRate = Param(Params._dummy(), "discountRate", "yearly discount", TypeConverters.toFloat)  # noqa: N815

    def __init__(self, fit: LifetimeFit | None = None, horizon_days: int = 364, discount_rate: float = 0.0) -> None:
        super().__init__()
        self._set(horizonDays=horizon_days, discountRate=discount_rate)
        if fit is not None:
            self._set(purchases=list(fit.purchases), amounts=list(fit.amounts))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        told = [T.StructField(name, T.DoubleType()) for name in TOLD]
        value = _valuer(
            BgNbd(*self.getOrDefault(self.purchases)),
            GammaGamma(*self.getOrDefault(self.amounts)),
            self.getOrDefault(self.horizonDays),
            self.getOrDefault(self.discountRate),
        )
        return dataset.mapInArrow(value, T.StructType([*dataset.schema.fields, *told]))


def score_lifetimes(*, summaries: DataFrame, model: LifetimeValueModel) -> DataFrame:
    """Value every customer.

    Args:
        summaries: segments.purchase_summaries of the date.
        model: Fitted on customers of that date.

    Returns:
        Rows as segments.lifetime_values.
    """
    money = [F.col(name).cast("decimal(18,2)").alias(name) for name in TOLD[2:]]
    horizon = F.lit(model.getOrDefault(model.horizonDays)).alias("horizon_days")
    return model.transform(summaries).select("customer_id", AS_OF_DATE, horizon, *TOLD[:2], *money)


def _valuer(purchases: BgNbd, amounts: GammaGamma, horizon: int, discount_rate: float) -> _Valuer:
    """Make the function that Spark maps over Arrow batches of purchase summaries."""

    def value(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            customers = _customers(batch)
            told = value_lifetimes(
                purchases,
                amounts,
                repeats=customers.repeats,
                last=customers.last,
                age=customers.age,
                spend=customers.spend,
                horizon=horizon,
                discount_rate=discount_rate,
            )
            columns = (told.alive, told.purchases, told.amounts, told.values)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, *(pa.array(column) for column in columns)], names=[*batch.schema.names, *TOLD]
            )

    return value


def _customers(rows: pa.Table | pa.RecordBatch) -> _Customers:
    days, active, tenure, spend = (rows.column(name).to_numpy(zero_copy_only=False) for name in SUMMARY)
    repeats = days.astype(np.int64) - 1
    return _Customers(repeats, active.astype(np.float64), tenure.astype(np.float64), spend.astype(np.float64))
