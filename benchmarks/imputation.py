"""What filling gaps is worth: every method of ``features.imputation``, on values that are known and were hidden.

    make bench-imputation
    make bench-imputation ARGS="--rate 0.5 --masks 2"

Customers of the embedded real data are described at one date by the project's own steps; displays and mailers, most
of the bytes, are left out. A share of the known values of every column that can be imputed is then hidden at random,
filled again by each method, and judged twice: by how far the filled values are from the hidden ones, and by how
well two plain models learnt from the filled table (five-fold over customers) tell who buys nothing in the next 91
days and what the others spend. Errors (±) come from drawing customers anew, differences are paired. Prints tables,
and as its last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error, roc_auc_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import machine  # noqa: E402  (the path comes first)
from benchmarks.recommend import open_silver, start_spark  # noqa: E402
from promo_spark.contracts.features import CUSTOMER_FEATURES  # noqa: E402
from promo_spark.contracts.rows import contract_frame  # noqa: E402
from promo_spark.contracts.settings import Imputation, Settings  # noqa: E402
from promo_spark.contracts.silver import (  # noqa: E402
    ASSIGNMENTS,
    CUSTOMERS,
    ORDER_LINES,
    PRICES,
    PRODUCTS,
    REDEMPTIONS,
)
from promo_spark.contracts.source_settings import TableMapping  # noqa: E402
from promo_spark.features.customers import build_customer_features, complete_customer_features  # noqa: E402
from promo_spark.features.imputation import NUMBERS, fit_imputer  # noqa: E402
from promo_spark.features.lines import describe_lines  # noqa: E402
from promo_spark.ingest.entities import conform_assignments, conform_redemptions  # noqa: E402
from promo_spark.pipelines.ingest_loads import source_tables  # noqa: E402
from promo_spark.runtime.input_files import list_files  # noqa: E402
from promo_spark.runtime.inputs import open_records  # noqa: E402
from promo_spark.runtime.settings import load_settings  # noqa: E402
from promo_spark.sources.mapping import map_records  # noqa: E402

DATE, HORIZON, DRAWS, FOLDS = date(2017, 9, 30), 91, 500, 5
METHODS: tuple[Imputation, ...] = get_args(Imputation)
SETTLED = "median"
DOUBLES = tuple(c.name for c in CUSTOMER_FEATURES.columns if isinstance(c.dtype, T.DoubleType) and c.name in NUMBERS)
SKEWED = ("_amount", "_count", "_days")
Metric = Callable[[np.ndarray, np.ndarray], float]


def records_of(spark: SparkSession, mapping: TableMapping) -> DataFrame:
    return open_records(spark, mapping, list_files(spark, mapping), ()).records


def open_targeting(spark: SparkSession, settings: Settings) -> dict[str, DataFrame]:
    """Assignments and redemptions, mapped and conformed as by the ingest stage; ids stay the source's own."""
    offered = source_tables(settings.source)
    frames = {}
    for silver, conform in ((ASSIGNMENTS, conform_assignments), (REDEMPTIONS, conform_redemptions)):
        table = offered[silver.entity]
        records = records_of(spark, table.mapping)
        if table.prepare is not None:
            companions = {name: records_of(spark, other) for name, other in (table.companions or {}).items()}
            records = table.prepare(records, companions)
        mapped = map_records(
            records=records, mapping=table.mapping, silver=silver, time_zone=settings.source.time_zone
        ).withColumn("ingest_sequence", F.lit(1))
        frames[silver.name] = conform(**{silver.entity: mapped.withColumnRenamed("raw_customer_id", "customer_id")})
    return frames


def describe(spark: SparkSession, settings: Settings, folder: Path) -> tuple[DataFrame, DataFrame]:
    """Customers at the date, with their gaps, and their spend in the days that followed."""
    tables = open_silver(spark, settings, folder)
    lines = describe_lines(
        order_lines=tables[ORDER_LINES.name],
        products=tables[PRODUCTS.name],
        prices=contract_frame(spark, PRICES),
        as_of_date=DATE,
        settings=settings.features,
    )
    customers = build_customer_features(
        lines=lines,
        customers=contract_frame(spark, CUSTOMERS),
        **{name.partition(".")[2]: frame for name, frame in open_targeting(spark, settings).items()},
        as_of_date=DATE,
        settings=settings.features,
        time_zone=settings.source.time_zone,
    )
    customers.write.parquet(str(folder / "customers"))
    bought = (F.col("order_date") >= F.lit(DATE)) & (F.col("order_date") < F.lit(DATE + timedelta(days=HORIZON)))
    later = tables[ORDER_LINES.name].where(bought & F.col("customer_id").isNotNull() & ~F.col("is_return"))
    spent = later.groupBy("customer_id").agg(F.sum("sales_amount").cast("double").alias("later_amount"))
    return spark.read.parquet(str(folder / "customers")), spent


def hide(customers: DataFrame, rate: float, mask: int) -> DataFrame:
    """Hide a share of the known values of each column that can be imputed, by a hash."""

    def kept(name: str) -> F.Column:
        drawn = F.pmod(F.xxhash64("customer_id", F.lit(f"{name} {mask}")), F.lit(1_000_000))
        return F.when(drawn >= int(rate * 1_000_000), F.col(name))

    return customers.withColumns({name: kept(name) for name in DOUBLES})


def fill(customers: DataFrame, method: str, settings: Settings) -> np.ndarray:
    """The numbers of all customers, by id, after every gap was filled by one method; shape (customers, numbers)."""
    chosen = settings.features.model_copy(
        update={"imputation": dict.fromkeys(DOUBLES, method), "winsorise_quantile": 1}
    )
    imputer = fit_imputer(customers=customers, settings=chosen)
    return numbers(complete_customer_features(customers=customers, settings=chosen, imputer=imputer))


def numbers(customers: DataFrame) -> np.ndarray:
    rows = customers.select("customer_id", *[F.col(name).cast("double") for name in NUMBERS]).toPandas()
    return rows.sort_values("customer_id")[list(NUMBERS)].to_numpy(dtype=np.float64)


def foretell(table: np.ndarray, left: np.ndarray, spent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who leaves, and what is spent, told for each customer by models that did not see them."""
    skewed = [name.endswith(SKEWED) for name in NUMBERS]
    shaped = np.where(skewed, np.log1p(np.maximum(table, 0)), table)
    shaped = np.nan_to_num(shaped[:, ~np.isnan(shaped).all(axis=0)])
    churn, spend = np.empty(len(left)), np.empty(len(left))
    for train, test in KFold(FOLDS, shuffle=True, random_state=1).split(shaped):
        leaver = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        churn[test] = leaver.fit(shaped[train], left[train]).predict_proba(shaped[test])[:, 1]
        spender = make_pipeline(StandardScaler(), Ridge(alpha=30.0))
        told = spender.fit(shaped[train], np.sqrt(spent[train])).predict(shaped[test])
        spend[test] = np.square(np.maximum(told, 0))
    return churn, spend


class Judge:
    """Figures and their errors, customers drawn anew as often as ``DRAWS``."""

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(7)
        self.draws = [random.integers(0, count, count) for _ in range(DRAWS)]

    def mean_errors(self, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean over customers of each column, NaN where nothing was hidden: all, and for each draw."""
        return np.nanmean(errors, axis=0), np.array([np.nanmean(errors[draw], axis=0) for draw in self.draws])

    def of_models(self, metric: Metric, truth: np.ndarray, told: list[np.ndarray]) -> tuple[float, np.ndarray]:
        """Mean over masks: all, and for each draw."""
        drawn = [np.mean([metric(truth[draw], one[draw]) for one in told]) for draw in self.draws]
        return float(np.mean([metric(truth, one) for one in told])), np.array(drawn)


def compare(customers: DataFrame, spent: DataFrame, settings: Settings, rate: float, masks: int) -> dict[str, object]:
    """Fill by every method, judge, and print."""
    labels = customers.select("customer_id").join(spent, "customer_id", "left").toPandas().sort_values("customer_id")
    later = labels["later_amount"].fillna(0.0).to_numpy(dtype=np.float64)
    left = (later == 0).astype(np.float64)
    judge, truth = Judge(len(left)), numbers(customers)
    places = [NUMBERS.index(name) for name in DOUBLES]
    errors: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    told: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {method: [] for method in METHODS}
    for mask in range(masks):
        hidden = hide(customers, rate, mask).cache()
        was_hidden = np.isnan(numbers(hidden)) & ~np.isnan(truth)
        for method in METHODS:
            filled = fill(hidden, method, settings)
            errors[method].append(np.where(was_hidden, np.abs(filled - truth), np.nan)[:, places])
            told[method].append(foretell(filled, left, later))
        hidden.unpersist()
        print(f"mask {mask + 1} of {masks} filled by {len(METHODS)} methods", flush=True)
    known = told | {"nothing hidden": [foretell(fill(customers, SETTLED, settings), left, later)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that no customer has: the mean of nothing
        rebuilt = rebuild_table(judge, {m: np.nanmean(np.stack(e), axis=0) for m, e in errors.items()})
    return {
        "customers": len(left),
        "churn_rate": round(float(left.mean()), 4),
        **rebuilt,
        **model_table(judge, "churn_auc", roc_auc_score, left, {m: [c for c, _ in t] for m, t in known.items()}),
        **model_table(judge, "spend_mae", mean_absolute_error, later, {m: [s for _, s in t] for m, t in known.items()}),
    }


def rebuild_table(judge: Judge, errors: dict[str, np.ndarray]) -> dict[str, object]:
    """Mean absolute error of hidden values, and how many times the settled method's it is on the mean over columns."""
    reached = {method: judge.mean_errors(own) for method, own in errors.items()}
    settled, settled_draws = reached[SETTLED]
    told = ~np.isnan(settled) & (settled > 0)
    print(f"\n{'mean absolute error of':<26}" + "".join(f"{m:>13}" for m in METHODS) + f"{'best minus median':>26}")
    for place in np.flatnonzero(told):
        best = min(METHODS, key=lambda method: reached[method][0][place])
        gap = reached[best][0][place] - settled[place]
        error = np.nanstd(reached[best][1][:, place] - settled_draws[:, place])
        row = "".join(f"{reached[method][0][place]:>13.4f}" for method in METHODS)
        print(f"{DOUBLES[place]:<26}{row}{gap:>+16.4f} ± {error:.4f}")
    ratios = {m: float((own[told] / settled[told]).mean()) for m, (own, _) in reached.items()}
    spreads = {
        m: float(np.nanstd((draws[:, told] / settled_draws[:, told]).mean(axis=1))) for m, (_, draws) in reached.items()
    }
    print(f"{'mean over median s':<26}" + "".join(f"{ratios[m]:>7.3f}±{spreads[m]:.3f}" for m in METHODS))
    return {
        "mae_over_median": {m: round(value, 4) for m, value in ratios.items()},
        "mae_over_median_se": {m: round(value, 4) for m, value in spreads.items()},
        "mae": {
            DOUBLES[place]: {m: round(float(reached[m][0][place]), 4) for m in METHODS}
            for place in np.flatnonzero(told)
        },
    }


def model_table(
    judge: Judge, name: str, metric: Metric, truth: np.ndarray, told: dict[str, list[np.ndarray]]
) -> dict[str, object]:
    """A later model's figure for each method, and its paired difference to the settled one."""
    reached = {method: judge.of_models(metric, truth, own) for method, own in told.items()}
    gaps = {m: (v - reached[SETTLED][0], float(np.std(d - reached[SETTLED][1]))) for m, (v, d) in reached.items()}
    print(f"\n{name:<26}{'':>13}{'minus median':>22}")
    for method, (value, _) in reached.items():
        gap, error = gaps[method]
        print(f"{method:<26}{value:>13.4f}{gap:>+14.4f} ± {error:.4f}")
    return {
        name: {method: round(value, 4) for method, (value, _) in reached.items()},
        f"{name}_minus_median": {method: [round(gap, 4), round(error, 4)] for method, (gap, error) in gaps.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=0.3, help="share of known values that is hidden (default: 0.3)")
    parser.add_argument("--masks", type=int, default=3, help="how often other values are hidden (default: 3)")
    options = parser.parse_args()
    settings = load_settings([ROOT / "conf/local.yaml"], [f"as_of_date={DATE}"])
    spark = start_spark(settings)
    with tempfile.TemporaryDirectory() as scratch:
        customers, spent = describe(spark, settings, Path(scratch))
        found = compare(customers.cache(), spent, settings, options.rate, options.masks)
        spark.stop()
    result = {
        "benchmark": "imputation",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyspark", "numpy", "scikit-learn")},
        "hidden_rate": options.rate,
        "masks": options.masks,
        **found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
