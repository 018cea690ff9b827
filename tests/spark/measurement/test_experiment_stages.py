"""Design, draw, measure: the two stages on a small ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.consent import ConsentSettings, Missing
from promo_spark.contracts.experiment_settings import ExperimentDesign, ExperimentSettings
from promo_spark.contracts.experiments import (
    EFFECTS,
    EXPERIMENT_CHECKS,
    EXPERIMENT_UNITS,
    EXPERIMENTS,
    POWER_CURVE,
)
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, CUSTOMERS, ORDER_LINES, REDEMPTIONS
from promo_spark.contracts.table import TableContract
from promo_spark.errors import ExperimentError
from promo_spark.measurement.experiment_draw import draw_experiments
from promo_spark.pipelines import design_experiment, measure
from promo_spark.runtime.stage import Stage

DAY = date(2024, 3, 4)
LATER = DAY + timedelta(days=28)
PEOPLE = 400
DESIGN = ExperimentDesign(
    name="spring",
    arms={"none": 0.5, "coupon": 0.5},
    holdout_rate=0.1,
    strata=("spend_band",),
    metrics=("sales_amount", "is_buyer"),
    guardrails=("discount_amount",),
    start_date=DAY,
    end_date=LATER - timedelta(days=1),
    variants={"plain": 3.0, "warm": 1.0},
)
Tables = dict[str, DataFrame]


class FakeStage:
    """Serves given tables and keeps what is written and said."""

    def __init__(self, tables: Tables, day: date, experiments: ExperimentSettings) -> None:
        self.as_of_date, self.tables = day, tables
        source = SimpleNamespace(time_zone="America/New_York")
        self.settings = SimpleNamespace(
            experiments=experiments, features=FeatureSettings(), source=source, consent=ConsentSettings()
        )
        self.limitations: list[str] = []
        self.figures: dict[str, float] = {}

    @property
    def spark(self) -> SparkSession:
        return next(iter(self.tables.values())).sparkSession

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def read_before(self, contract: TableContract, *, days: int) -> DataFrame:
        assert days > 0
        return self.tables[contract.name].limit(0)

    def has(self, contract: TableContract) -> bool:
        return not self.read(contract).isEmpty()

    def write(self, contract: TableContract, frame: DataFrame) -> SimpleNamespace:
        kept = frame.localCheckpoint()
        if contract.mode == "merged":
            old = self.tables[contract.name].join(kept, list(contract.key), "left_anti")
            kept = old.select(*contract.column_names).unionByName(kept).localCheckpoint()
        self.tables[contract.name] = kept
        return SimpleNamespace(accepted=kept.count())

    def append_missing(self, contract: TableContract, frame: DataFrame) -> None:
        old = self.tables[contract.name]
        new = frame.join(old.select(*contract.key), list(contract.key), "left_anti")
        self.tables[contract.name] = old.unionByName(new.select(*contract.column_names)).localCheckpoint()

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def progress(self, message: str) -> None:
        assert message

    def metrics(self, values: dict[str, float]) -> None:
        self.figures |= values

    def table(self, name: str, rows: pd.DataFrame) -> None:
        assert "customer_id" not in rows


def lines_of(customer: str, days: list[date], amounts: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "basket_id": f"{customer}-{day}",
            "line_id": "1",
            "customer_id": customer,
            "product_id": "p",
            "store_id": f"s{int(customer[1:]) % 20}",
            "order_date": day,
            "quantity": Decimal(1),
            "sales_amount": Decimal(f"{amount:.2f}"),
            "retail_discount_amount": Decimal("0.10"),
            "is_return": False,
            "is_outlier": False,
        }
        for day, amount in zip(days, amounts, strict=True)
    ]


@pytest.fixture(scope="module")
def past(make_rows: Callable[..., DataFrame]) -> Tables:
    rng = np.random.default_rng(3)
    tables = {
        table.name: make_rows(table, [])
        for pipeline in (design_experiment.PIPELINE, measure.PIPELINE)
        for table in (*pipeline.reads, *pipeline.writes)
    }
    levels = rng.lognormal(2.5, 0.5, PEOPLE)
    days = [DAY - timedelta(days=7 * week + 3) for week in range(14)]
    lines = [
        line
        for place, level in enumerate(levels)
        for line in lines_of(f"c{place}", days, (level * rng.gamma(4.0, 0.25, len(days))).tolist())
    ]
    features = [
        {"customer_id": f"c{place}", "as_of_date": DAY, "spend_91d_amount": Decimal(f"{level:.2f}")}
        for place, level in enumerate(levels)
    ]
    refused = [{"customer_id": f"c{place}", "has_marketing_consent": place % 100 != 99} for place in range(PEOPLE)]
    tables[ORDER_LINES.name] = make_rows(ORDER_LINES, lines).localCheckpoint()
    tables[CUSTOMER_FEATURES.name] = make_rows(CUSTOMER_FEATURES, features).localCheckpoint()
    tables[CUSTOMERS.name] = make_rows(CUSTOMERS, refused).localCheckpoint()
    return tables


def designed(past: Tables, design: ExperimentDesign, **settings: Any) -> FakeStage:
    stage = FakeStage(dict(past), DAY, ExperimentSettings(designs=(design,), **settings))
    design_experiment.run(cast(Stage, stage))
    return stage


@pytest.fixture(scope="module")
def drawn(past: Tables) -> FakeStage:
    return designed(past, DESIGN)


@pytest.fixture(scope="module")
def followed(drawn: FakeStage, make_rows: Callable[..., DataFrame]) -> Tables:
    """Four weeks later: the coupon added 6 to what its customers spent."""
    rng = np.random.default_rng(4)
    arms = {row.customer_id: row.arm for row in drawn.read(EXPERIMENT_UNITS).collect()}
    spent = drawn.read(ORDER_LINES).groupBy("customer_id").agg(F.avg("sales_amount").cast("double").alias("level"))
    levels = {row.customer_id: row.level for row in spent.collect()}
    days = [DAY + timedelta(days=7 * week) for week in range(4)]
    lines = [
        line
        for customer, level in sorted(levels.items())
        for line in lines_of(
            customer, days, (level * rng.gamma(4.0, 0.25, 4) + 1.5 * (arms.get(customer) == "coupon")).tolist()
        )
    ]
    redeemed = [
        {"promotion_id": "coupon", "customer_id": customer, "coupon_id": "1", "redeemed_date": days[1]}
        for customer, arm in arms.items()
        if arm == "coupon" and int(customer[1:]) % 4 == 0
    ]
    more = make_rows(ORDER_LINES, lines)
    return {
        **drawn.tables,
        ORDER_LINES.name: drawn.read(ORDER_LINES).unionByName(more).localCheckpoint(),
        REDEMPTIONS.name: make_rows(REDEMPTIONS, redeemed),
    }


def measured(tables: Tables, day: date = LATER, **settings: Any) -> FakeStage:
    stage = FakeStage(dict(tables), day, ExperimentSettings(designs=(DESIGN,), **settings))
    measure.run(cast(Stage, stage))
    return stage


@pytest.fixture(scope="module")
def told(followed: Tables) -> FakeStage:
    return measured(followed)


def test_the_design_is_kept_with_what_it_can_find(drawn: FakeStage) -> None:
    rows = {row.arm: row for row in drawn.read(EXPERIMENTS).collect()}
    assert set(rows) == {"none", "coupon"}
    assert rows["none"].is_control
    assert (rows["none"].share, rows["coupon"].share) == pytest.approx((0.55, 0.45))
    assert rows["none"].customer_count + rows["coupon"].customer_count == PEOPLE - 4  # four refused marketing
    curve = drawn.read(POWER_CURVE).where("metric = 'sales_amount'").orderBy("unit_count").toPandas()
    assert curve.detectable_effect.is_monotonic_decreasing
    planned = curve[curve.is_planned].iloc[0]
    assert planned.unit_count == PEOPLE - 4
    assert planned.adjusted_deviation < 0.7 * planned.standard_deviation
    assert rows["coupon"].detectable_effect == pytest.approx(planned.detectable_effect)
    assert rows["coupon"].required_unit_count > 0


def test_the_draw_is_balanced_in_each_stratum_and_logged_with_its_propensities(drawn: FakeStage) -> None:
    units = drawn.read(EXPERIMENT_UNITS).toPandas()
    per_band = units.groupby("stratum").arm.apply(lambda arms: (arms == "coupon").sum() - 0.45 * len(arms))
    assert len(per_band) == 5
    assert (per_band.abs() <= 1.0).all()
    assert units.is_holdout.sum() == pytest.approx(0.1 * len(units), abs=5)
    ledger = drawn.read(ASSIGNMENTS).toPandas()
    assert set(ledger.decided_at) == {pd.Timestamp("2024-03-04 05:00")}  # midnight in New York
    assert ledger.groupby("arm").propensity.first().to_dict() == pytest.approx({"none": 0.55, "coupon": 0.45})
    assert (ledger[ledger.is_holdout].arm == "none").all()
    assert units.variant.value_counts(normalize=True)["plain"] == pytest.approx(0.75, abs=0.08)
    by_arm = units.groupby("arm").variant.apply(lambda variants: (variants == "plain").mean())
    assert abs(by_arm["none"] - by_arm["coupon"]) < 0.15


@pytest.mark.slow
def test_a_drawn_experiment_stays_as_it_is(drawn: FakeStage) -> None:
    again = designed(drawn.tables, DESIGN)
    for table in (ASSIGNMENTS, EXPERIMENT_UNITS, EXPERIMENTS):
        assert again.read(table).drop("variants").exceptAll(drawn.read(table).drop("variants")).isEmpty()
        assert again.read(table).count() == drawn.read(table).count()
    other = DESIGN.model_copy(update={"arms": {"none": 0.2, "coupon": 0.8}})
    with pytest.raises(ExperimentError, match="spring was drawn on 2024-03-04 with other settings"):
        designed(drawn.tables, other)


def test_the_planted_effect_is_found_and_may_be_quoted(told: FakeStage) -> None:
    rows = told.read(EFFECTS).where("experiment = 'spring'").toPandas()
    sales = rows[(rows.metric == "sales_amount") & rows.is_headline]
    assert list(sales.method) == ["regression_adjusted"]
    row = sales.iloc[0]
    assert row.low < 6.0 < row.high
    assert row.adjusted_p_value < 0.05
    assert row.standard_error < 3.0
    assert set(rows.metric) == {"sales_amount", "is_buyer", "discount_amount"}
    assert set(rows.learnt_from) == {"randomised"}
    segments = set(rows.segment) - {"all"}
    assert segments == {"spent_little", "spent_middling", "spent_much"}
    assert told.figures["experiments"] == 2.0  # the variants of the message are a second one


def test_its_checks_are_told_in_words(told: FakeStage) -> None:
    checks = told.read(EXPERIMENT_CHECKS).where("experiment = 'spring'").toPandas()
    results = {row.check: row.result for row in checks.itertuples() if row.metric == "all"}
    assert results["sample_ratio"] == results["balance"] == results["propensities"] == "passed"
    flat = checks[checks.check == "variance"]
    assert set(flat.metric) == {"is_buyer", "discount_amount"}  # everybody bought, with the same discount
    assert set(flat.result) == {"failed"}
    effects = told.read(EFFECTS).toPandas()
    assert not effects[effects.metric == "is_buyer"].is_headline.any()
    assert effects[(effects.metric == "is_buyer") & (effects.method == "difference")].standard_error.isna().all()


def test_variants_of_the_message_are_an_experiment_among_those_who_were_given_something(told: FakeStage) -> None:
    rows = told.read(EFFECTS).where("experiment = 'spring:variant' AND segment = 'all'").toPandas()
    assert set(rows.arm) == {"warm"}
    assert set(rows.control) == {"plain"}
    sales = rows[(rows.metric == "sales_amount") & rows.is_headline].iloc[0]
    assert 173 <= sales.control_count + sales.arm_count <= 183
    assert sales.low < 0.0 < sales.high
    ratio = told.read(EXPERIMENT_CHECKS).where("experiment = 'spring:variant' AND check = 'sample_ratio'").first()
    assert ratio is not None
    assert ratio.result == "passed"


@pytest.mark.slow
def test_while_it_runs_only_sequential_intervals_may_be_quoted(followed: Tables) -> None:
    early = measured(followed, DAY + timedelta(days=14)).read(EFFECTS).where("experiment = 'spring'").toPandas()
    assert set(early[early.is_headline].method) == {"sequential"}
    sales = early[(early.metric == "sales_amount") & early.is_headline].iloc[0]
    assert sales.low < 3.0 < sales.high  # two of four weeks


@pytest.mark.slow
def test_what_came_later_changes_nothing(followed: Tables, told: FakeStage) -> None:
    cut = {**followed, ORDER_LINES.name: followed[ORDER_LINES.name].where(F.col("order_date") < F.lit(LATER))}
    rows = measured(cut).read(EFFECTS)
    assert rows.exceptAll(told.read(EFFECTS)).isEmpty()


@pytest.mark.slow
def test_customers_lost_from_an_arm_stop_the_headline(followed: Tables) -> None:
    lost = (F.col("arm") == "coupon") & (F.pmod(F.xxhash64("customer_id"), F.lit(2)) == 0)
    stage = measured({**followed, ASSIGNMENTS.name: followed[ASSIGNMENTS.name].where(~lost)})
    checks = stage.read(EXPERIMENT_CHECKS).where("check = 'sample_ratio' AND experiment = 'spring'").first()
    assert checks is not None
    assert (checks.result, checks.stops_headline) == ("failed", True)
    assert stage.read(EFFECTS).where("is_headline AND experiment = 'spring'").isEmpty()
    assert any("arms are not of the sizes drawn" in text for text in stage.limitations)


@pytest.mark.slow
def test_a_lost_arm_is_named(followed: Tables) -> None:
    stage = measured({**followed, ASSIGNMENTS.name: followed[ASSIGNMENTS.name].where("arm = 'none'")})
    assert stage.read(EFFECTS).isEmpty()
    found = stage.read(EXPERIMENT_CHECKS).where("check = 'arms' AND arm = 'coupon'").first()
    assert found is not None
    assert (found.result, found.stops_headline) == ("failed", True)
    assert any(text.startswith("experiment spring: coupon, an arm of the design, has no") for text in stage.limitations)


@pytest.mark.slow
def test_assigned_after_the_start_is_too_late(followed: Tables) -> None:
    late = followed[ASSIGNMENTS.name].withColumn("decided_at", F.timestamp_add("DAY", F.lit(3), F.col("decided_at")))
    stage = measured({**followed, ASSIGNMENTS.name: late})
    found = stage.read(EXPERIMENT_CHECKS).where("check = 'outcome_dates'").first()
    assert found is not None
    assert found.stops_headline
    assert not stage.read(EFFECTS).toPandas().is_headline.any()


@pytest.mark.slow
def test_without_randomised_decisions_it_says_so_and_goes_on(past: Tables, followed: Tables) -> None:
    nothing = measured(past)
    assert nothing.read(EFFECTS).isEmpty()
    assert any(
        text.startswith("no decision whose outcome is known was drawn at random") for text in nothing.limitations
    )
    unlogged = followed[ASSIGNMENTS.name].withColumn("propensity", F.lit(None).cast("double"))
    undrawn = followed[EXPERIMENT_UNITS.name].limit(0)  # the draw of variants would be known all the same
    tables = {**followed, ASSIGNMENTS.name: unlogged, EXPERIMENT_UNITS.name: undrawn}
    assert measured(tables).read(EFFECTS).isEmpty()


@pytest.mark.slow
def test_a_plan_of_this_system_is_held_against_its_holdout(
    followed: Tables, make_rows: Callable[..., DataFrame]
) -> None:
    """Held out 0.1; of the others half would be given the coupon: whoever would not has the arm none at 0.1 + 0.9."""
    rows = []
    for place in range(PEOPLE):
        is_held, would_be = (place * 7) % 10 == 0, place % 2 == 0
        arm = "coupon" if would_be and not is_held else "none"
        propensity = (0.1 if arm == "none" else 0.89) if would_be else 0.99
        at = pd.Timestamp("2024-03-04 05:00", tz="UTC").to_pydatetime()
        row = {"decision_id": "plan-1", "customer_id": f"c{place}", "arm": arm, "propensity": propensity}
        rows.append({**row, "is_holdout": is_held, "decided_at": at})
    tables = {**followed, FEEDBACK.name: make_rows(FEEDBACK, rows), ASSIGNMENTS.name: make_rows(ASSIGNMENTS, [])}
    stage = measured(tables)
    found = stage.read(EFFECTS).where("metric = 'sales_amount' AND method = 'difference' AND segment = 'all'").collect()
    assert [(row.experiment, row.arm, row.control, row.control_count) for row in found] == [
        ("plan-1", "plan", "none", 40)
    ]
    checks = {row.check: row.result for row in stage.read(EXPERIMENT_CHECKS).collect() if row.metric == "all"}
    assert checks["sample_ratio"] == checks["propensities"] == "passed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"holdout_rate": 0.0075, "strata": ()}, r"the holdout \(\d+\)"),
        ({"unit": "region", "strata": ()}, r"too few units \(region\).*coupon \(0\), none \(0\)"),
        ({"start_date": DAY - timedelta(days=1)}, "before the day it is drawn"),
    ],
)
def test_what_cannot_tell_anything_is_refused(past: Tables, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        designed(past, DESIGN.model_copy(update={"name": "bad", **changes}))


@pytest.mark.slow
def test_stores_are_drawn_as_a_whole(past: Tables) -> None:
    design = DESIGN.model_copy(update={"name": "stores", "unit": "store", "strata": (), "holdout_rate": 0.0})
    stage = designed(past, design, min_clusters=18)
    units = stage.read(EXPERIMENT_UNITS).toPandas()
    assert units.unit_id.nunique() == 20
    assert (units.groupby("unit_id").arm.nunique() == 1).all()
    assert any("fewer than 18 units (store)" in text for text in stage.limitations)
    planned = stage.read(POWER_CURVE).where("is_planned AND metric = 'sales_amount'").first()
    assert planned is not None
    assert planned.unit_count == 20


def test_draws_are_spread_evenly_stable_and_apart_from_each_other(spark: SparkSession, past: Tables) -> None:
    many = spark.range(20_000).select(
        F.concat(F.lit("k"), "id").alias("customer_id"),
        F.lit(DAY).alias("as_of_date"),
        F.lit(1).alias("spend_91d_amount"),
    )
    one = DESIGN.model_copy(update={"name": "one", "strata": (), "holdout_rate": 0.2})
    other = one.model_copy(update={"name": "other"})

    def draw(customers: DataFrame) -> pd.DataFrame:
        rows = draw_experiments(
            customers=past[CUSTOMERS.name],
            consents=past[CONSENTS.name],
            customer_features=customers,
            order_lines=past[ORDER_LINES.name],
            segment_customers=past["segments.customers"],
            as_of_date=DAY,
            settings=ExperimentSettings(designs=(one, other)),
            consent=ConsentSettings(missing=Missing(contact="granted")),
        )
        wide = rows.groupBy("customer_id").pivot("experiment", ["one", "other"]).agg(F.first("arm"))
        return wide.toPandas().set_index("customer_id").sort_index()

    arms = draw(many)
    assert (arms == "coupon").mean().to_list() == pytest.approx([0.4, 0.4], abs=0.012)
    both = ((arms.one == "coupon") & (arms.other == "coupon")).mean()
    assert both == pytest.approx(0.16, abs=0.01)
    fewer = draw(many.limit(10_000).repartition(7))
    assert (fewer == arms.loc[fewer.index]).all().all()
