"""Draw customers, or clusters of them, into the arms of experiments: by hash, the same wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import reduce

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.consent import ConsentSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.experiment_settings import ExperimentDesign, ExperimentSettings
from promo_spark.contracts.experiments import EXPERIMENT_UNITS
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, CUSTOMERS, ORDER_LINES
from promo_spark.contracts.step import produces
from promo_spark.measurement.experiment_population import list_population

_BITS = 53
_BLOCK = 50_000
"""Units of a stratum that are put in order together."""


@produces(
    EXPERIMENT_UNITS,
    customers=CUSTOMERS,
    consents=CONSENTS,
    customer_features=CUSTOMER_FEATURES,
    order_lines=ORDER_LINES,
    segment_customers=SEGMENT_CUSTOMERS,
)
def draw_experiments(
    *,
    customers: DataFrame,
    consents: DataFrame,
    customer_features: DataFrame,
    order_lines: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
    settings: ExperimentSettings,
    consent: ConsentSettings,
) -> DataFrame:
    """Draw the units of every experiment that is to be drawn.

    Without strata each unit's place in [0, 1) is a hash of the salt and the unit: whoever comes or goes, nobody else's
    arm changes. With strata the units of a stratum are put in the order of their hashes and spread evenly over [0, 1)
    from a random start, so that each stratum has each arm's share to within one unit of a block; a unit's chance is the
    share all the same. Holdout, control and arms follow each other on [0, 1). The variant is a hash of its own.

    Args:
        customers: silver.customers.
        consents: silver.consents.
        customer_features: features.customers of the date: who can be drawn.
        order_lines: silver.order_lines, for home stores.
        segment_customers: segments.customers of the date.
        as_of_date: The day of the design.
        settings: The designs.
        consent: What it means not to have answered about contact, where anybody did.

    Returns:
        measurement.experiment_units.
    """
    drawn = [
        _draw(
            design,
            list_population(
                design=design,
                customers=customers,
                consents=consents,
                customer_features=customer_features,
                order_lines=order_lines,
                segment_customers=segment_customers,
                as_of_date=as_of_date,
                consent=consent,
            ),
        )
        for design in settings.designs
        if design.draws
    ]
    nobody = contract_frame(customers.sparkSession, EXPERIMENT_UNITS)
    return reduce(DataFrame.unionByName, drawn) if drawn else nobody


@produces(ASSIGNMENTS, experiment_units=EXPERIMENT_UNITS)
def assign_units(*, experiment_units: DataFrame, settings: ExperimentSettings, time_zone: str) -> DataFrame:
    """Write what was drawn as decisions of the ledger, made at the first midnight of the experiment.

    Args:
        experiment_units: measurement.experiment_units.
        settings: The designs; experiments that are not among them are left out.
        time_zone: The retailer's.

    Returns:
        silver.assignments, as of load 0: what the retailer delivers under the same key wins.
    """
    starts = {design.name: design.start_date for design in settings.designs}
    day = _one_of(F.col("experiment"), {name: F.lit(start) for name, start in starts.items()}, F.lit(None).cast("date"))
    rows = experiment_units.where(F.col("experiment").isin(*starts) if starts else F.lit(False))
    return rows.select(
        F.col("experiment").alias("decision_id"),
        "customer_id",
        "arm",
        "propensity",
        "is_holdout",
        F.to_utc_timestamp(day.cast("timestamp"), time_zone).alias("decided_at"),
        F.concat(F.lit("experiment "), "experiment").alias("source_file"),
        F.lit(0).cast("long").alias("source_ordinal"),
        F.lit(0).alias("ingest_sequence"),
    )


def uniform(salt: str, purpose: str, *keys: Expression) -> Expression:
    """A draw from the uniform distribution on [0, 1): 53 bits of a 64-bit hash of salt, purpose and keys."""
    hashed = F.xxhash64(F.lit(salt), F.lit(purpose), *keys)
    return F.shiftrightunsigned(hashed, 64 - _BITS) / float(1 << _BITS)


def _draw(design: ExperimentDesign, population: DataFrame) -> DataFrame:
    salt = design.salt or design.name
    place = uniform(salt, "arm", F.col("unit_id"))
    if design.strata:
        population = _put_in_order(population, salt)
        place = (F.col("_rank") - 1 + uniform(salt, "start", F.col("stratum"), F.col("_block"))) / F.col("_size")
    placed = population.withColumn("_place", place)
    slots = {"": design.holdout_rate} if design.holdout_rate else {}
    slots |= {arm: share * (1.0 - design.holdout_rate) for arm, share in design.arms.items()}
    arm = _slot(F.col("_place"), slots)
    weights = {name: weight / sum(design.variants.values()) for name, weight in design.variants.items()}
    named = placed.withColumn("_arm", arm).withColumn(
        "arm", F.when(F.col("_arm") == "", NO_ARM).otherwise(F.col("_arm"))
    )
    return named.select(
        F.lit(design.name).alias("experiment"),
        "customer_id",
        "arm",
        (F.col("_arm") == "").alias("is_holdout"),
        _one_of(F.col("arm"), {name: F.lit(share) for name, share in design.shares.items()}).alias("propensity"),
        "unit_id",
        "stratum",
        _slot(uniform(salt, "variant", F.col("customer_id")), weights).alias("variant"),
    )


def _put_in_order(population: DataFrame, salt: str) -> DataFrame:
    """Ranks of units by hash within blocks of their stratum, and the blocks' sizes."""
    counts = population.groupBy("stratum").agg(F.ceil(F.count("*") / _BLOCK).alias("_blocks"))
    block = F.pmod(F.xxhash64(F.lit(salt), F.lit("block"), "unit_id"), F.col("_blocks"))
    blocked = population.join(F.broadcast(counts), "stratum").withColumn("_block", block)
    own = Window.partitionBy("stratum", "_block")
    order = own.orderBy(F.xxhash64(F.lit(salt), F.lit("order"), "unit_id"), "unit_id")
    return blocked.withColumns({"_rank": F.row_number().over(order), "_size": F.count("*").over(own)})


def _slot(place: Expression, shares: Mapping[str, float]) -> Expression:
    """The name whose part of [0, 1) a place falls in; parts lie side by side in the order of the names given."""
    names, reached = list(shares), 0.0
    told = F.lit(None).cast("string")
    bounds = []
    for name in names[:-1]:
        reached += shares[name]
        bounds.append((name, reached))
    for name, bound in bounds:
        told = F.coalesce(told, F.when(place < bound, F.lit(name)))
    return F.coalesce(told, F.lit(names[-1]))


def _one_of(key: Expression, values: Mapping[str, Expression], otherwise: Expression | None = None) -> Expression:
    told = otherwise if otherwise is not None else F.lit(None).cast("double")
    for name, value in values.items():
        told = F.when(key == name, value).otherwise(told)
    return told
