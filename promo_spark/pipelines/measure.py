"""Measure what randomised decisions changed, and check whether they can be believed."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame

from promo_spark.contracts.experiments import (
    EFFECTS,
    EXPERIMENT_CHECKS,
    EXPERIMENT_UNITS,
    EXPERIMENTS,
)
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, REDEMPTIONS
from promo_spark.measurement.experiment_effects import check_experiments, estimate_effects
from promo_spark.measurement.experiment_moments import gather_moments
from promo_spark.measurement.experiment_rows import gather_experiment_rows
from promo_spark.measurement.experiment_table_rows import read_experiment_table
from promo_spark.measurement.experiment_variants import add_variants
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Analyse the ledger's randomised decisions and the tables that settings name."""
    designs, day, settings = (
        add_variants(experiments=stage.read(EXPERIMENTS)),
        stage.as_of_date,
        stage.settings.experiments,
    )
    rows = reduce(DataFrame.unionByName, [_ledger_rows(stage, designs), *_table_rows(stage)])
    moments = gather_moments(experiment_rows=rows).persist()
    checks = check_experiments(experiment_moments=moments, experiments=designs, as_of_date=day, settings=settings)
    effects = estimate_effects(experiment_moments=moments, experiments=designs, as_of_date=day, settings=settings)
    stage.write(EXPERIMENT_CHECKS, checks)
    if not stage.write(EFFECTS, effects).accepted:
        stage.limitation(
            "no decision whose outcome is known was drawn at random (silver.assignments with the propensity of every "
            "customer): what promotions changed is not measured by experiment."
        )
    moments.unpersist()
    _account(stage)


def _ledger_rows(stage: Stage, designs: DataFrame) -> DataFrame:
    settings = stage.settings
    return gather_experiment_rows(
        assignments=stage.read(ASSIGNMENTS),
        feedback=stage.read(FEEDBACK),
        experiments=designs,
        experiment_units=stage.read(EXPERIMENT_UNITS),
        order_lines=stage.read(ORDER_LINES),
        redemptions=stage.read(REDEMPTIONS),
        product_features=stage.read(PRODUCT_FEATURES),
        segment_customers=stage.read_before(SEGMENT_CUSTOMERS, days=settings.experiments.outcome_days),
        as_of_date=stage.as_of_date,
        time_zone=settings.source.time_zone,
        settings=settings.experiments,
        features=settings.features,
    )


def _table_rows(stage: Stage) -> list[DataFrame]:
    return [
        read_experiment_table(
            records=stage.open_records(table.mapping, table.columns), table=table, as_of_date=stage.as_of_date
        )
        for table in stage.settings.experiments.tables
    ]


def _account(stage: Stage) -> None:
    checks = stage.read(EXPERIMENT_CHECKS).orderBy("experiment", "check", "metric", "arm").toPandas()
    for row in checks[checks["stops_headline"]].itertuples():
        stage.limitation(f"experiment {row.experiment}: {row.told} No effect of it is quoted.")
    effects = stage.read(EFFECTS).orderBy("experiment", "metric", "arm", "method", "segment").toPandas()
    headlines = effects[effects["is_headline"] & ~effects["is_guardrail"]]
    stage.metrics(
        {
            "experiments": float(checks["experiment"].nunique()),
            "experiments_stopped": float(checks.loc[checks["stops_headline"], "experiment"].nunique()),
            "effects_found": float((headlines["adjusted_p_value"] < 1.0 - headlines["level"]).sum()),
        }
    )
    if len(checks):
        stage.table("experiment_checks", checks)
        stage.table("effects", effects)


PIPELINE = Pipeline(
    name="measure",
    summary="Measure what randomised decisions changed, and check whether that can be believed.",
    reads=(
        *(ASSIGNMENTS, EXPERIMENTS, EXPERIMENT_UNITS, ORDER_LINES, REDEMPTIONS, PRODUCT_FEATURES),
        *(SEGMENT_CUSTOMERS, FEEDBACK),
    ),
    writes=(EFFECTS, EXPERIMENT_CHECKS),
    run=run,
    settings=("experiments", "features", "source.time_zone"),
    headlines=("experiments", "experiments_stopped", "effects_found"),
    purpose="measurement",
)
