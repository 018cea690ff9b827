"""The entities of the simulated retailer, and the rules of its world, all of them known.

Customers are of four types that react differently. In a week a category may have one lever: a
display, a mailer or a price cut multiplies the rate at which its lines are bought, and a rate that was
raised is lower in the two weeks after (customers stocked up). One coupon campaign is assigned at
random; for its weeks it multiplies the rate in the categories it covers, and lowers it in the two
weeks after. Covered categories have no lever from two weeks before the campaign to two weeks after, so
that the campaign's true effect has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.source_settings import SyntheticSource
from promo_spark.sources.synthetic_draws import normal, skewed_index, uniform

PROMOTION_ID = "campaign-1"
CAMPAIGN_WEEKS = 4
DIP_WEEKS = 2
FAVOURITES = 4
FAVOURITE_SHARE = 0.5
COUPON_RATE = 0.1
CUT_RATE = 0.2
LEVERS = {"display": 1.2, "mailer": 1.3, "price_cut": 1.5}
LEVER_SHARE = 0.12
DIPS = (0.9, 0.95)
_COVERED_SHARE = 0.3
_DEPARTMENTS = 5
_BRAND_TIERS = ("National", "Private")
_AGE_BANDS = ("19-24", "25-34", "35-44", "45-54", "55-64", "65+")
_INCOME_BANDS = ("Under 25K", "25-49K", "50-74K", "75-99K", "100K+")
_CONSENT_SHARE = 0.9


@dataclass(frozen=True)
class CustomerType:
    """How customers of a type react.

    Attributes:
        share: Share of customers.
        campaign: Relative change of the rate in covered categories while the campaign lasts.
        dip: Relative loss in the two weeks after it.
        lever: Multiplies what levers add.
    """

    share: float
    campaign: float
    dip: float
    lever: float


TYPES = {
    "seeker": CustomerType(0.3, campaign=0.6, dip=0.15, lever=1.5),
    "loyal": CustomerType(0.4, campaign=0.15, dip=0.05, lever=0.7),
    "steady": CustomerType(0.2, campaign=0.0, dip=0.0, lever=0.3),
    "averse": CustomerType(0.1, campaign=-0.2, dip=0.0, lever=0.0),
}


def by_type(attribute: str) -> Expression:
    """An attribute of the customer's type, from the column ``customer_type``."""
    pairs = [F.lit(item) for name, kind in TYPES.items() for item in (name, float(getattr(kind, attribute)))]
    return F.create_map(*pairs)[F.col("customer_type")]


def simulated_customers(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    """One row per customer: number, type, weekly trips, favourite categories, arm of the campaign."""
    number = F.col("customer_number")
    kind = F.lit(None).cast("string")
    bound = 1.0
    for name in reversed(TYPES):
        kind = F.when(uniform(source.seed, "type", number) < bound, F.lit(name)).otherwise(kind)
        bound -= TYPES[name].share
    favourites = [
        skewed_index(uniform(source.seed, "favourite", number, F.lit(place)), F.lit(source.categories))
        for place in range(FAVOURITES)
    ]
    # 0.4 + 1.8 u² has mean 1.
    activity = 0.4 + 1.8 * F.pow(uniform(source.seed, "activity", number), 2.0)
    return (
        spark.range(source.customers)
        .select(
            F.col("id").alias("customer_number"),
        )
        .select(
            number,
            F.format_string("C%010d", number).alias("raw_customer_id"),
            kind.alias("customer_type"),
            (activity * source.baskets_per_week).alias("weekly_trips"),
            F.array(*favourites).alias("favourites"),
            (uniform(source.seed, "arm", number) < source.treated_rate).alias("is_treated"),
        )
    )


def simulated_products(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    """One row per product: its category is its number modulo the number of categories."""
    number = F.col("product_number")
    category = number % source.categories
    return (
        spark.range(source.products)
        .select(F.col("id").alias("product_number"))
        .select(
            number,
            product_id(number).alias("product_id"),
            category.cast("int").alias("category_number"),
            list_price(source, number).alias("list_price"),
            F.round(list_price(source, number) * (0.55 + 0.3 * uniform(source.seed, "cost", number)), 2).alias(
                "unit_cost"
            ),
            F.when(uniform(source.seed, "brand", number) < 0.75, F.lit(_BRAND_TIERS[0]))  # noqa: PLR2004
            .otherwise(F.lit(_BRAND_TIERS[1]))
            .alias("brand"),
        )
    )


def product_id(number: Expression) -> Expression:
    """Id of a product."""
    return F.format_string("P%07d", number)


def category_name(number: Expression) -> Expression:
    """Name of a category."""
    return F.format_string("CATEGORY %03d", number)


def department_name(category: Expression) -> Expression:
    """Name of a category's department."""
    return F.format_string("DEPARTMENT %d", category % _DEPARTMENTS)


def list_price(source: SyntheticSource, number: Expression) -> Expression:
    """Regular price of a product: lognormal around 3, between 0.5 and 30."""
    price = F.exp(F.lit(1.1) + 0.5 * normal(source.seed, "price", number))
    return F.round(F.least(F.greatest(price, F.lit(0.5)), F.lit(30.0)), 2)


def category_size(source: SyntheticSource, category: Expression) -> Expression:
    """Number of products of a category."""
    return F.floor((source.products - 1 - category) / source.categories) + 1


def is_covered(source: SyntheticSource, category: Expression) -> Expression:
    """Whether the campaign covers a category; it always covers the best-selling one."""
    return (category == 0) | (uniform(source.seed, "covered", category) < _COVERED_SHARE)


def lever(source: SyntheticSource, category: Expression, week: Expression) -> Expression:
    """The lever of a category in a week, or NULL."""
    draw = uniform(source.seed, "lever", category, week.cast("int"))
    chosen = F.lit(None).cast("string")
    for place, name in reversed(list(enumerate(LEVERS))):
        chosen = F.when(draw < (place + 1) * LEVER_SHARE, F.lit(name)).otherwise(chosen)
    first, last = source.campaign_week - DIP_WEEKS, source.campaign_week + CAMPAIGN_WEEKS + DIP_WEEKS
    kept_clear = is_covered(source, category) & (week >= first) & (week < last)
    return F.when(~kept_clear & (week >= 0), chosen)


def lever_effect(source: SyntheticSource, category: Expression, week: Expression) -> Expression:
    """Factor by which levers of this week and the two before change the rate of the customer's type."""
    now = lever(source, category, week)
    effect = F.lit(1.0)
    for name, factor in LEVERS.items():
        effect = F.when(now == name, 1.0 + (factor - 1.0) * by_type("lever")).otherwise(effect)
    dip = F.when(lever(source, category, week - 1).isNotNull(), F.lit(DIPS[0])).when(
        lever(source, category, week - 2).isNotNull(), F.lit(DIPS[1])
    )
    return effect * (1.0 - (1.0 - F.coalesce(dip, F.lit(1.0))) * F.least(by_type("lever"), F.lit(1.0)))


def largest_effect() -> float:
    """Bound of all factors: levers and the campaign never meet in one category and week."""
    levers = [1.0 + (factor - 1.0) * kind.lever for factor in LEVERS.values() for kind in TYPES.values()]
    return max(*levers, *(1.0 + kind.campaign for kind in TYPES.values()))


def season(week: Expression) -> Expression:
    """Factor of the week of the year on all trips."""
    return 1.0 + 0.1 * F.sin(week * (2.0 * 3.141592653589793 / 52.0))


def age_band(source: SyntheticSource, number: Expression) -> Expression:
    """Age band of a customer."""
    return _one_of(_AGE_BANDS, uniform(source.seed, "age", number))


def income_band(source: SyntheticSource, number: Expression) -> Expression:
    """Income band of a customer."""
    return _one_of(_INCOME_BANDS, uniform(source.seed, "income", number))


def consent(source: SyntheticSource, number: Expression) -> Expression:
    """Whether a customer agreed to be sent promotions."""
    return uniform(source.seed, "consent", number) < _CONSENT_SHARE


def _one_of(words: tuple[str, ...], draw: Expression) -> Expression:
    listed = F.array(*(F.lit(word) for word in words))
    return F.get(listed, F.floor(draw * len(words)).cast("int"))
