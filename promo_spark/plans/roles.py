"""Who is decided for, who is kept back to measure against, and who is left to chance to learn from."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import OFFERS, ROLES
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.silver import OVERRIDES
from promo_spark.contracts.step import produces
from promo_spark.plans.eligibility import current_overrides

FORCED, HOLDOUT, EXPLORATION, DECIDED = "forced", "holdout", "exploration", "decided"
_BITS = 53


@produces(ROLES, offers=OFFERS, overrides=OVERRIDES)
def draw_roles(
    *,
    offers: DataFrame,
    overrides: DataFrame,
    as_of_date: date,
    settings: AssignSettings,
    seed: int,
    without_room: tuple[str, ...] = (),
) -> DataFrame:
    """Draw each customer's role before anything is optimised, so that propensities are known.

    A draw is a hash of the seed, the decision and the customer: the same whatever the partitioning. Whom a manager
    forces takes no part in it. Who explores gets one of the promotions that may be given and have room, each as
    likely; where there is none, the decision decides.

    Args:
        offers: plans.offers, those that may be given.
        overrides: silver.overrides.
        as_of_date: The day of the decision.
        settings: Rates of holdout and exploration.
        seed: Of the draws.
        without_room: Promotions that nobody is given by chance, such as those out of stock.

    Returns:
        plans.roles, one row per customer with an offer.
    """
    draw = uniform(seed, "role", as_of_date)
    kept, explored = settings.holdout_rate, settings.holdout_rate + settings.exploration_rate
    forced = current_overrides(overrides, as_of_date).where(F.col("action") == "force")
    chosen = forced.join(offers.select("customer_id", "promotion_id"), ["customer_id", "promotion_id"], "left_semi")
    of_manager = chosen.groupBy("customer_id").agg(F.array_sort(F.collect_set("promotion_id")).alias("_forced"))
    has_room = ~F.col("promotion_id").isin(*without_room) if without_room else F.lit(True)
    with_room = F.collect_set(F.when(has_room, F.col("promotion_id")))
    may = offers.groupBy("customer_id").agg(F.array_sort(with_room).alias("explorable"))
    place = F.floor(uniform(seed, "explore", as_of_date) * F.size("explorable")).cast("int")
    role = F.when(F.col("_forced").isNotNull(), FORCED).when(draw < kept, HOLDOUT)
    return (
        may.join(of_manager, "customer_id", "left")
        .withColumn("role", role.when((draw < explored) & (F.size("explorable") > 0), EXPLORATION).otherwise(DECIDED))
        .select(
            "customer_id",
            F.lit(as_of_date).alias("as_of_date"),
            "role",
            F.when(F.col("role") == FORCED, F.col("_forced"))
            .when(F.col("role") == EXPLORATION, F.array(F.get("explorable", place)))
            .alias("given"),
            "explorable",
        )
    )


def uniform(seed: int, purpose: str, as_of_date: date, *keys: Expression) -> Expression:
    """A draw per customer, and key if any, from the uniform distribution on [0, 1), 53 bits of a 64-bit hash."""
    parts = [F.lit(seed), F.lit(purpose), F.lit(as_of_date.isoformat()), F.col("customer_id"), *keys]
    return F.shiftrightunsigned(F.xxhash64(*parts), 64 - _BITS) / float(1 << _BITS)
