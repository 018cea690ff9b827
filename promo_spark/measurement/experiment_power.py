"""What designed experiments can find, from the retailer's own history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import reduce

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.consent import ConsentSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.experiment_settings import ExperimentDesign, ExperimentSettings
from promo_spark.contracts.experiments import ALL_SEGMENTS, EXPERIMENT_MOMENTS, EXPERIMENT_ROWS, POWER_CURVE
from promo_spark.contracts.features import CUSTOMER_FEATURES, PRODUCT_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import CONSENTS, CUSTOMERS, ORDER_LINES
from promo_spark.contracts.step import produces
from promo_spark.kernels.experiment_cells import Plan, merge_thin_strata
from promo_spark.kernels.power_curve import Baseline, measure_baseline, power_curve
from promo_spark.measurement.experiment_population import CUSTOMER, list_population
from promo_spark.measurement.experiment_rows import measure_windows, measured_arrays
from promo_spark.measurement.purchase_days import (
    LEDGER_COVARIATES,
    LEDGER_OUTCOMES,
    LEDGER_RATIOS,
    sum_purchase_days,
)

_SIZES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Numbers of units that are looked at, as multiples of those there are."""


@produces(
    EXPERIMENT_ROWS,
    customers=CUSTOMERS,
    consents=CONSENTS,
    customer_features=CUSTOMER_FEATURES,
    order_lines=ORDER_LINES,
    segment_customers=SEGMENT_CUSTOMERS,
    product_features=PRODUCT_FEATURES,
)
def lay_out_baseline(
    *,
    customers: DataFrame,
    consents: DataFrame,
    customer_features: DataFrame,
    order_lines: DataFrame,
    segment_customers: DataFrame,
    product_features: DataFrame,
    as_of_date: date,
    settings: ExperimentSettings,
    features: FeatureSettings,
    consent: ConsentSettings,
) -> DataFrame:
    """Lay the days before the date out as though each experiment had just ended, with everybody in the arm none.

    Args:
        customers: silver.customers.
        consents: silver.consents.
        customer_features: features.customers of the date.
        order_lines: silver.order_lines; as many days before the date as the experiment lasts are its outcomes.
        segment_customers: segments.customers of the date.
        product_features: features.products.
        as_of_date: The day of the design.
        settings: The designs, and the days that adjust.
        features: The margin rate of products without one.
        consent: What it means not to have answered about contact, where anybody did.

    Returns:
        measurement.experiment_rows, one experiment per design.
    """
    past = order_lines.where(F.col("order_date") < F.lit(as_of_date))
    days = sum_purchase_days(order_lines=past, product_features=product_features, default_rate=features.margin_rate)
    frames = []
    for design in settings.designs:
        population = list_population(
            design=design,
            customers=customers,
            consents=consents,
            customer_features=customer_features,
            order_lines=past,
            segment_customers=segment_customers,
            as_of_date=as_of_date,
            consent=consent,
        )
        frames.append(_baseline(design, population, days, as_of_date, settings.covariate_days))
    nobody = contract_frame(customers.sparkSession, EXPERIMENT_ROWS)
    return reduce(DataFrame.unionByName, frames) if frames else nobody


def _baseline(
    design: ExperimentDesign, population: DataFrame, days: DataFrame, as_of_date: date, covariate_days: int
) -> DataFrame:
    window = {
        "experiment": F.lit(design.name),
        "first_date": F.lit(as_of_date - timedelta(days=design.days)),
        "end_date": F.lit(as_of_date),
    }
    drawn = population.withColumns(window)
    measured = measure_windows(drawn=drawn, days=days, covariate_days=covariate_days)
    rows = drawn.join(measured, ["experiment", "customer_id"], "left").withColumn("is_redeemed", F.lit(False))
    unit = F.col("unit_id") if design.unit != CUSTOMER else F.lit(None).cast("string")
    return rows.select(
        "experiment",
        "customer_id",
        F.lit(as_of_date).alias("as_of_date"),
        F.lit(NO_ARM).alias("arm"),
        F.lit(None).cast("double").alias("propensity"),
        "stratum",
        F.lit(ALL_SEGMENTS).alias("segment"),
        unit.alias("cluster_id"),
        F.lit(1).cast("long").alias("record_count"),
        F.lit(1).cast("long").alias("arm_count"),
        F.lit(False).alias("is_early"),
        F.lit(False).alias("is_missing"),
        *measured_arrays(),
    )


@produces(POWER_CURVE, experiment_moments=EXPERIMENT_MOMENTS)
def tell_power(*, experiment_moments: DataFrame, settings: ExperimentSettings) -> DataFrame:
    """Smallest effects that each design can find, by metric, arm and number of units.

    Args:
        experiment_moments: measurement.experiment_moments of the baseline.
        settings: The designs.

    Returns:
        measurement.power_curve; metrics of which the baseline shows nothing are left out.
    """
    return experiment_moments.groupBy("experiment").applyInPandas(
        _power_teller(settings), POWER_CURVE.schema(all_nullable=True)
    )


def _power_teller(settings: ExperimentSettings) -> Callable[[pd.DataFrame], pd.DataFrame]:
    designs = {design.name: design for design in settings.designs}

    def tell(moments: pd.DataFrame) -> pd.DataFrame:
        name, day = moments["experiment"].iloc[0], moments["as_of_date"].iloc[0]
        design = designs.get(name)
        rows = _power_rows(design, moments) if design is not None else []
        told = [{"experiment": name, "as_of_date": day, **row} for row in rows]
        return pd.DataFrame(told, columns=list(POWER_CURVE.column_names))

    return tell


def _power_rows(design: ExperimentDesign, moments: pd.DataFrame) -> list[dict[str, object]]:
    plan = Plan(NO_ARM, LEDGER_OUTCOMES, LEDGER_COVARIATES, ratios=LEDGER_RATIOS)
    width = 2 + len(LEDGER_COVARIATES) + len(LEDGER_OUTCOMES)
    strata = moments[moments["products"].map(lambda values: values[0] > 0)].sort_values("stratum")
    if not len(strata):
        return []
    products = merge_thin_strata(np.stack(strata["products"].to_list()).reshape(1, -1, width, width))
    rows: list[dict[str, object]] = []
    for metric in dict.fromkeys([*design.metrics, *design.guardrails]):
        found = measure_baseline(products, plan.place_of(metric), plan.covariate_places)
        if found is not None:
            rows += _curve(design, metric, found)
    return rows


def _curve(design: ExperimentDesign, metric: str, found: Baseline) -> list[dict[str, object]]:
    sizes = sorted({max(round(found.units * part), 4) for part in _SIZES})
    rows: list[dict[str, object]] = []
    for arm in design.shares:
        if arm == design.control:
            continue
        shares = design.shares[design.control], design.shares[arm]
        effects = power_curve(found, np.array(sizes), shares, design.alpha, design.power)
        rows += [
            {
                "metric": metric,
                "arm": arm,
                "unit_count": size,
                "baseline_mean": found.mean,
                "standard_deviation": found.variance**0.5,
                "adjusted_deviation": found.adjusted**0.5,
                "detectable_effect": adjusted,
                "detectable_effect_rate": adjusted / abs(found.mean) if found.mean else None,
                "unadjusted_effect": raw,
                "is_planned": size == round(found.units),
            }
            for size, raw, adjusted in zip(sizes, *effects.tolist(), strict=True)
        ]
    return rows
