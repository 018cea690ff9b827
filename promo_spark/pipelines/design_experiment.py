"""Design experiments: what they can find, and who is drawn into which arm.

Once drawn, an experiment stays as it is: under its name nobody is drawn again, and other settings under the same name
are refused. With draws: false in its settings only its power is worked out.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pandas as pd
from pyspark.sql import functions as F

from promo_spark.contracts.experiment_settings import ExperimentDesign
from promo_spark.contracts.experiments import EXPERIMENT_UNITS, EXPERIMENTS, POWER_CURVE
from promo_spark.contracts.features import CUSTOMER_FEATURES, PRODUCT_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, CUSTOMERS, ORDER_LINES
from promo_spark.errors import ExperimentError, HistoryError
from promo_spark.kernels.sample_size import required_size
from promo_spark.measurement.experiment_draw import assign_units, draw_experiments
from promo_spark.measurement.experiment_moments import gather_moments
from promo_spark.measurement.experiment_power import lay_out_baseline, tell_power
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_DECIDING = ("arms", "control", "holdout_rate", "unit", "strata", "salt", "start_date", "end_date", "variants")
_ANALYSIS = ("metrics", "guardrails", "alpha")


def run(stage: Stage) -> None:
    """Work out the power of every design, then draw those that are new and meant to be drawn."""
    settings = stage.settings.experiments
    if not settings.designs:
        stage.limitation("no experiment is designed: name one under experiments.designs.")
        return
    if not stage.has(CUSTOMER_FEATURES):
        raise HistoryError(
            f"there are no customers with features for {stage.as_of_date} to draw: run jobs/pipeline.py for this date."
        )
    _tell_power(stage)
    fresh = tuple(design for design in settings.designs if design.draws and _is_new(stage, design))
    if fresh:
        _draw(stage, fresh)


def _tell_power(stage: Stage) -> None:
    rows = lay_out_baseline(
        customers=stage.read(CUSTOMERS),
        consents=stage.read(CONSENTS),
        customer_features=stage.read(CUSTOMER_FEATURES),
        order_lines=stage.read(ORDER_LINES),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        product_features=stage.read(PRODUCT_FEATURES),
        as_of_date=stage.as_of_date,
        settings=stage.settings.experiments,
        features=stage.settings.features,
        consent=stage.settings.consent,
    )
    stage.write(
        POWER_CURVE,
        tell_power(experiment_moments=gather_moments(experiment_rows=rows), settings=stage.settings.experiments),
    )
    curve = stage.read(POWER_CURVE).orderBy("experiment", "metric", "arm", "unit_count").toPandas()
    stage.table("power_curve", curve)
    for row in curve[curve["is_planned"]].to_dict("records"):
        stage.progress(
            f"{row['experiment']}: {row['arm']} is found to move {row['metric']} from "
            f"{row['detectable_effect']:,.3f} on ({row['detectable_effect_rate']:.1%} of {row['baseline_mean']:,.2f}) "
            f"with {row['unit_count']:,} units"
        )


def _is_new(stage: Stage, design: ExperimentDesign) -> bool:
    """Whether an experiment has not been drawn yet.

    Raises:
        ExperimentError: It was drawn with other settings, or would start before it is drawn.
    """
    known = (
        stage.read(EXPERIMENTS).where(F.col("experiment") == design.name).select("design_hash", "as_of_date").first()
    )
    if known is None:
        if design.start_date < stage.as_of_date:
            raise ExperimentError(
                f"experiment {design.name} starts on {design.start_date}, before the day it is drawn, "
                f"{stage.as_of_date}: what customers did until then is no effect. Set a later start_date, or "
                "an earlier as_of_date."
            )
        return True
    if known["design_hash"] != _hash(design):
        raise ExperimentError(
            f"experiment {design.name} was drawn on {known['as_of_date']} with other settings, and stays as it is: "
            "give the new one another name."
        )
    stage.progress(f"{design.name} was drawn on {known['as_of_date']} and stays as it is")
    return False


def _draw(stage: Stage, designs: tuple[ExperimentDesign, ...]) -> None:
    settings = stage.settings.experiments.model_copy(update={"designs": designs})
    drawn = draw_experiments(
        customers=stage.read(CUSTOMERS),
        consents=stage.read(CONSENTS),
        customer_features=stage.read(CUSTOMER_FEATURES),
        order_lines=stage.read(ORDER_LINES),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        as_of_date=stage.as_of_date,
        settings=settings,
        consent=stage.settings.consent,
    ).persist()
    sizes = (
        drawn.groupBy("experiment", "arm")
        .agg(
            F.count_distinct("unit_id").alias("unit_count"),
            F.count("*").alias("customer_count"),
            F.count_distinct(F.when(F.col("is_holdout"), F.col("unit_id"))).alias("holdout_count"),
        )
        .toPandas()
    )
    for design in designs:
        _require_sizes(stage, design, sizes[sizes["experiment"] == design.name])
    stage.append_missing(EXPERIMENT_UNITS, drawn)
    drawn.unpersist()
    # What was kept is what is decided: a draw cut short goes on with the arms it has given already.
    kept = stage.read(EXPERIMENT_UNITS)
    zone = stage.settings.source.time_zone
    stage.write(ASSIGNMENTS, assign_units(experiment_units=kept, settings=settings, time_zone=zone))
    curve = stage.read(POWER_CURVE).where("is_planned").toPandas()
    rows = [row for design in designs for row in _design_rows(stage, design, sizes, curve)]
    values = [tuple(row[name] for name in EXPERIMENTS.column_names) for row in rows]
    stage.append_missing(EXPERIMENTS, contract_frame(stage.spark, EXPERIMENTS, values))


def _require_sizes(stage: Stage, design: ExperimentDesign, sizes: pd.DataFrame) -> None:
    """Refuse a draw from which nothing could follow.

    Raises:
        ExperimentError: An arm, or the holdout, is too small.
    """
    is_clustered = design.unit != "customer"
    settings = stage.settings.experiments
    fewest = 2 if is_clustered else settings.min_arm_units
    what = f"units ({design.unit})" if is_clustered else "customers"
    counts = dict.fromkeys(design.arms, 0) | dict(zip(sizes["arm"], sizes["unit_count"].astype(int), strict=True))
    if design.holdout_rate:
        counts["the holdout"] = int(sizes["holdout_count"].sum())
    small = [f"{arm} ({count})" for arm, count in sorted(counts.items()) if count < fewest]
    if small:
        raise ExperimentError(
            f"experiment {design.name} would have too few {what} to tell anything, of at least {fewest}: "
            f"{', '.join(small)}. Draw from more, by a smaller unit or into fewer arms."
        )
    few = [arm for arm, count in sorted(counts.items()) if is_clustered and count < settings.min_clusters]
    if few:
        stage.limitation(
            f"experiment {design.name}: {', '.join(few)} have fewer than {settings.min_clusters} {what}: its intervals "
            "will be wide, and still too narrow where units differ much."
        )


def _design_rows(
    stage: Stage, design: ExperimentDesign, sizes: pd.DataFrame, curve: pd.DataFrame
) -> list[dict[str, Any]]:
    counted = {row["arm"]: row for row in sizes[sizes["experiment"] == design.name].to_dict("records")}
    own = curve[(curve["experiment"] == design.name) & (curve["metric"] == design.metrics[0])].set_index("arm")
    total = sum(design.variants.values())
    shared: dict[str, Any] = {
        **{name: getattr(design, name) for name in ("holdout_rate", "unit", "alpha", "power", "minimum_effect_rate")},
        **{name: list(getattr(design, name)) for name in ("strata", "metrics", "guardrails")},
        "experiment": design.name,
        "as_of_date": stage.as_of_date,
        "salt": design.salt or design.name,
        "variants": {name: weight / total for name, weight in design.variants.items()},
        "start_date": design.start_date,
        "end_date": design.end_date,
        "design_hash": _hash(design),
    }
    rows = []
    for arm, share in design.shares.items():
        found = own.loc[arm] if arm in own.index else None
        rows.append(
            {
                **shared,
                "arm": arm,
                "is_control": arm == design.control,
                "share": share,
                "unit_count": int(counted[arm]["unit_count"]),
                "customer_count": int(counted[arm]["customer_count"]),
                "detectable_effect": None if found is None else float(found["detectable_effect"]),
                "detectable_effect_rate": None if found is None else float(found["detectable_effect_rate"]),
                "required_unit_count": None if found is None else _required(design, arm, found),
            }
        )
    return rows


def _required(design: ExperimentDesign, arm: str, found: Any) -> int:  # noqa: ANN401  (a row of pandas)
    """Units in all arms for the effect worth finding."""
    variance = float(found["adjusted_deviation"]) ** 2
    effect = design.minimum_effect_rate * abs(float(found["baseline_mean"]))
    shares = design.shares[design.control], design.shares[arm]
    return required_size(effect, (variance, variance), shares, design.alpha, design.power)


def _hash(design: ExperimentDesign) -> str:
    told = design.model_dump(mode="json", include={*_DECIDING, *_ANALYSIS})
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


PIPELINE = Pipeline(
    name="design_experiment",
    summary="Work out what designed experiments can find, and draw customers into their arms.",
    reads=(CUSTOMERS, CONSENTS, CUSTOMER_FEATURES, PRODUCT_FEATURES, ORDER_LINES, SEGMENT_CUSTOMERS),
    writes=(POWER_CURVE, EXPERIMENT_UNITS, EXPERIMENTS, ASSIGNMENTS),
    run=run,
    settings=("experiments", "features", "source.time_zone"),
    # The ledger is ingest's: a stage that reads it must not stand on this one, which the pipeline never runs.
    is_dated=False,
    purpose="personalisation",
)
