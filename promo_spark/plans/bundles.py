"""Products that sell together beyond chance, and what offering the two for less would be worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import IdeaSettings
from promo_spark.contracts.features import PRIVATE_BRAND, PRODUCT_FEATURES
from promo_spark.contracts.ideas import BUNDLES
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.kernels.bundle_values import bundle_values, lift_lower_bound
from promo_spark.plans.basket_pairs import count_pairs, draw_items

Floats = NDArray[np.float64]
Values = dict[str, NDArray[Any]]

_ERROR_RATE = 0.05  # that any bound of all pairs tried lies above the true lift
_SIDES = ("first", "second")
_VALUED = tuple(name for name in BUNDLES.column_names if name not in {AS_OF_DATE, "rank", "learnt_from"})
_SCHEMA = ", ".join(f"{c.name} {c.dtype.simpleString()}" for c in BUNDLES.columns if c.name in _VALUED)
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@produces(BUNDLES, order_lines=ORDER_LINES, products=PRODUCTS, product_features=PRODUCT_FEATURES)
def mine_bundles(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    product_features: DataFrame,
    as_of_date: date,
    settings: IdeaSettings,
    recommend: RecommendSettings,
) -> DataFrame:
    """Find pairs of products worth selling together at a discount.

    A pair needs enough baskets, a lift of at least ``bundle_min_lift``, and a lift whose lower bound exceeds 1 for all
    pairs of frequent products at once (Bonferroni). The one bought anyway is the one whose baskets gain more.
    Pairs that cannot pay, even if every basket of the first held both, are left out. Where the makers differ and the
    added product is not the retailer's own, its maker bears ``partner_share_rate`` of the discount.

    Who buys both was not drawn at random, and the share at a discount rests on an assumed price elasticity: only a
    test can tell.

    Args:
        order_lines: silver.order_lines.
        products: silver.products, for makers; may be empty.
        product_features: features.products, for prices and margins.
        as_of_date: Lines on or after this date are ignored.
        settings: Days, baskets and limits.
        recommend: Departments and categories that are excluded.

    Returns:
        plans.bundles, at most ``bundle_count`` rows and ``bundles_per_anchor`` around one product, the largest expected
        gain first.
    """
    items = draw_items(
        order_lines=order_lines,
        as_of_date=as_of_date,
        days=settings.bundle_days,
        basket_count=settings.bundle_baskets,
    )
    counts = items.groupBy("product_id").agg(F.count("*").alias("baskets"))
    sold = _described_products(products, product_features, recommend)
    frequent = counts.where(F.col("baskets") >= settings.bundle_min_baskets).join(F.broadcast(sold), "product_id")
    totals = items.agg(F.count_distinct("basket_id").alias("n_baskets"), F.max("scale").alias("scale"))
    tried = frequent.agg(F.count("*").alias("n_products"))
    pairs = count_pairs(items=items, frequent=frequent).where(F.col("shared") >= settings.bundle_min_baskets)
    both = (
        pairs.join(F.broadcast(_side(frequent, "first")), "first_product_id")
        .join(F.broadcast(_side(frequent, "second")), "second_product_id")
        .crossJoin(F.broadcast(totals))
        .crossJoin(F.broadcast(tried))
    )
    valued = _with_relations(both).mapInArrow(_valuer(settings), _SCHEMA)
    best = _best(valued, settings)
    return best.withColumns({AS_OF_DATE: F.lit(as_of_date), "learnt_from": F.lit("observational")})


def _best(valued: DataFrame, settings: IdeaSettings) -> DataFrame:
    """The largest expected gains, few around any one product; of equal ones the surer, then the smaller ids."""
    order = [F.desc("expected_gain_amount"), F.desc("lift_low_rate"), F.asc("anchor_product_id")]
    order.append(F.asc("added_product_id"))
    place = F.row_number().over(Window.partitionBy("anchor_product_id").orderBy(*order))
    varied = valued.withColumn("place", place).where(F.col("place") <= settings.bundles_per_anchor)
    best = varied.orderBy(*order).limit(settings.bundle_count)
    return best.withColumn("rank", F.row_number().over(Window.orderBy(*order)))


def _described_products(products: DataFrame, product_features: DataFrame, recommend: RecommendSettings) -> DataFrame:
    """Products that may be offered and have a price: price, margin, maker, whether they are the retailer's own."""
    departments, categories = recommend.excluded_departments, recommend.excluded_categories
    is_excluded = F.col("department").isin(*departments) | F.col("category").isin(*categories)
    price = F.col("regular_price_amount")
    priced = product_features.where(~is_excluded & (price > 0) & F.col("margin_rate").isNotNull()).select(
        "product_id",
        "category",
        price.alias("price"),
        (price * F.col("margin_rate")).alias("margin"),
        F.col("is_margin_assumed").alias("is_assumed"),
    )
    makers = products.select("product_id", "manufacturer_id", "brand", F.col("brand").rlike(PRIVATE_BRAND).alias("own"))
    return priced.join(makers, "product_id", "left")


def _side(frequent: DataFrame, side: str) -> DataFrame:
    return frequent.select(*[F.col(name).alias(f"{side}_{name}") for name in frequent.columns])


def _with_relations(both: DataFrame) -> DataFrame:
    """What the two products of a pair are to each other."""
    is_other_maker = F.coalesce(
        F.col("first_manufacturer_id") != F.col("second_manufacturer_id"),
        F.col("first_brand") != F.col("second_brand"),
        F.lit(False),
    )
    return both.select(
        *_PAIR_COLUMNS,
        (F.col("first_category") == F.col("second_category")).alias("is_same_category"),
        (F.col("first_is_assumed") | F.col("second_is_assumed")).alias("is_margin_assumed"),
        *[(is_other_maker & ~F.coalesce(f"{side}_own", F.lit(False))).alias(f"{side}_may_share") for side in _SIDES],
    )


_PAIR_COLUMNS = (
    *("shared", "shoppers", "n_baskets", "n_products", "scale"),
    *[f"{side}_{name}" for side in _SIDES for name in ("product_id", "baskets", "price", "margin")],
)


def _valuer(settings: IdeaSettings) -> _Maker:
    """Make the function that Spark maps over Arrow batches of pairs."""

    def value_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            names = batch.schema.names
            given = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in names}
            values = value_pairs(given, settings)
            yield pa.RecordBatch.from_pydict({name: pa.array(values[name]) for name in _VALUED})

    return value_batches


def value_pairs(pairs: Values, settings: IdeaSettings) -> Values:
    """Value pairs in the better of their two directions, and keep those that hold and can pay.

    Args:
        pairs: ``_PAIR_COLUMNS``, is_same_category, is_margin_assumed and whether each side's maker may share the cost
            (first_may_share, second_may_share), each of shape (n_pairs,).
        settings: Limits, discount, partner's share and elasticity.

    Returns:
        The columns of plans.bundles but date, rank and origin.
    """
    shared, first, second = (pairs[name].astype(np.float64) for name in ("shared", "first_baskets", "second_baskets"))
    n_baskets = pairs["n_baskets"].astype(np.float64)
    tried = np.maximum(pairs["n_products"] * (pairs["n_products"] - 1) / 2, 1.0)
    low = lift_lower_bound(
        shared=shared,
        shoppers=pairs["shoppers"].astype(np.float64),
        first=first,
        second=second,
        n_baskets=n_baskets,
        level=_ERROR_RATE / tried,
    )
    one, other = (_directed(pairs, anchor, added, settings) for anchor, added in (_SIDES, _SIDES[::-1]))
    gains = one["expected_gain_amount"], other["expected_gain_amount"]
    is_turned = (gains[1] > gains[0]) | ((gains[1] == gains[0]) & (second > first))
    values: Values = {name: np.where(is_turned, other[name], one[name]) for name in one}
    values |= {
        "basket_count": pairs["shared"],
        "shopper_count": pairs["shoppers"],
        "lift_rate": shared * n_baskets / (first * second),
        "lift_low_rate": low,
        "discount_rate": np.full(len(low), settings.bundle_discount_rate),
        "is_same_category": pairs["is_same_category"].astype(np.bool_),
        "is_margin_assumed": pairs["is_margin_assumed"].astype(np.bool_),
    }
    # A break-even share is NaN where the discount exceeds the margin: that never pays.
    kept = (values["lift_rate"] >= settings.bundle_min_lift) & (low > 1) & (values["break_even_rate"] <= 1)
    return {name: column[kept] for name, column in values.items()}


def _directed(pairs: Values, anchor: str, added: str, settings: IdeaSettings) -> Values:
    """Value every pair with one of the two as the one that is bought anyway."""
    baskets = pairs[f"{anchor}_baskets"]
    share = pairs["shared"] / baskets
    together = pairs[f"{anchor}_price"] + pairs[f"{added}_price"]
    is_joint = pairs[f"{added}_may_share"].astype(np.bool_)
    partner_share = np.where(is_joint, settings.partner_share_rate, 0.0)
    values = bundle_values(
        anchor_baskets=baskets * pairs["scale"],
        share=share,
        added_price=pairs[f"{added}_price"],
        added_margin=pairs[f"{added}_margin"],
        discount=settings.bundle_discount_rate * together,
        partner_share=partner_share,
        elasticity=settings.bundle_elasticity,
    )
    return {
        "anchor_product_id": pairs[f"{anchor}_product_id"],
        "added_product_id": pairs[f"{added}_product_id"],
        "anchor_basket_count": baskets,
        "confidence_rate": share,
        "regular_price_amount": together,
        "unit_margin_amount": pairs[f"{anchor}_margin"] + pairs[f"{added}_margin"],
        "break_even_rate": values.break_even,
        "expected_share_rate": values.expected_share,
        "expected_gain_amount": values.gain,
        "partner_share_rate": partner_share,
        "is_joint": is_joint,
    }
