"""From choices to the assignment, its propensities, its log and what is handed over."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT, OFFERS
from promo_spark.contracts.decision_settings import AssignSettings, Limit
from promo_spark.contracts.decisions import CANDIDATES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.silver import CUSTOMERS, OVERRIDES
from promo_spark.errors import SettingsError
from promo_spark.plans.assignment import assemble_assignment, sum_up_segments
from promo_spark.plans.decision_log import log_decisions
from promo_spark.plans.limits import Reserved, all_limits, form_cells, form_problem, keep_known
from promo_spark.plans.net_values import NET_VALUE, net_values
from promo_spark.plans.responses import respond_to_prices
from promo_spark.plans.roles import draw_roles
from promo_spark.plans.sends import hand_to_learning, list_sends
from tests.conftest import MakeRows

DAY = date(2017, 6, 5)


def _offers(spark: SparkSession, size: int) -> DataFrame:
    """Everybody may get p, worth 3, or q, worth 1; both cost 1."""
    customers = spark.range(size).select(F.format_string("c%05d", "id").alias("customer_id"))
    pairs = customers.withColumn("promotion_id", F.explode(F.array(F.lit("p"), F.lit("q"))))
    given: dict[str, Any] = {
        "customer_id": F.col("customer_id"),
        "promotion_id": F.col("promotion_id"),
        "as_of_date": F.lit(DAY),
        "arm": F.lit("coupon"),
        "category": F.lit("one"),
        "is_listed": F.lit(True),
        "segment_id": F.when(F.col("customer_id") < "c00010", 1),
        "redemption_prob": F.lit(0.5),
        "value_amount": F.when(F.col("promotion_id") == "p", 3.0).otherwise(1.0),
        "value_low_amount": F.lit(0.0),
        "value_high_amount": F.lit(4.0),
        "cost_amount": F.lit(1.0),
        "contributions": F.create_map(F.lit("visits"), F.lit(2.0), F.lit("recency"), F.lit(-3.0)),
    }
    return pairs.select(*(given.get(c.name, F.lit(None)).cast(c.dtype).alias(c.name) for c in OFFERS.columns))


def test_what_is_drawn_and_decided_comes_as_often_as_its_propensity_says(
    spark: SparkSession, make_rows: MakeRows
) -> None:
    size, settings = 20_000, AssignSettings(holdout_rate=0.1, exploration_rate=0.2)
    offers = _offers(spark, size).cache()
    roles = draw_roles(
        offers=offers, overrides=make_rows(OVERRIDES, []), as_of_date=DAY, settings=settings, seed=3
    ).cache()
    favoured = offers.where("promotion_id = 'p'").select("customer_id", "promotion_id")
    decided = roles.where("role = 'decided'").select("customer_id")
    rows = assemble_assignment(
        offers=offers,
        roles=roles,
        choices=favoured.join(decided, "customer_id", "left_semi"),
        responses=favoured.select(
            "customer_id",
            F.col("promotion_id").alias("given"),
            F.lit(1.0).alias("share"),
            F.lit(True).alias("is_limited"),
        ),
        customer_features=make_rows(CUSTOMER_FEATURES, [{"customer_id": "c00001", "favourite_time_slot": "evening"}]),
        as_of_date=DAY,
        settings=settings,
    ).cache()
    counted = {
        row["arm"]: row
        for row in rows.groupBy("arm")
        .agg(F.count("*").alias("rows"), F.min("propensity").alias("least"), F.max("propensity").alias("most"))
        .collect()
    }
    for arm, expected in {"p": 0.8, "q": 0.1, "none": 0.1}.items():
        assert counted[arm]["least"] == counted[arm]["most"] == pytest.approx(expected)
        share = counted[arm]["rows"] / size
        assert share == pytest.approx(expected, abs=5 * (expected * (1 - expected) / size) ** 0.5)
    assert rows.where("slot = 1").count() == size
    assert rows.where("is_holdout AND arm <> 'none'").isEmpty()
    assert rows.where("arm = 'none' AND (value_amount <> 0 OR cost_amount <> 0)").isEmpty()
    assert [row["time_slot"] for row in rows.where("time_slot IS NOT NULL").collect()] == ["evening"]
    summed = sum_up_segments(assignment=rows, as_of_date=DAY)
    assert summed.agg(F.sum("customer_count")).collect()[0][0] == size
    assert {row["segment_id"] for row in summed.collect()} == {1, -1}


def test_prices_make_the_net_value_and_the_response(spark: SparkSession, make_rows: MakeRows) -> None:
    settings = AssignSettings(
        budget_amount=10.0,
        limits=(
            Limit(name="few_of_p", measure="count", at_most=3, promotions=("p",), segments=(1,)),
            Limit(name="young", measure="count", at_least=2, group="age_band", group_values=("19-24",)),
            Limit(name="pays", measure="return", at_least=0.5),
        ),
    )
    limits = all_limits(settings)
    offers = _offers(spark, 20)
    customers = make_rows(CUSTOMERS, [{"customer_id": "c00003", "age_band": "19-24"}, {"customer_id": "c00004"}])
    cells = form_cells(offers=offers, customers=customers, limits=limits)
    assert sorted(zip(cells.segments, cells.groups["age_band"], strict=True), key=str) == [
        (-1, None),
        (1, "19-24"),
        (1, None),
    ]
    nothing = np.zeros((cells.count, 2))
    problem = form_problem(
        limits=limits,
        cells=cells,
        promotions=("p", "q"),
        categories=("one", "one"),
        reserved=Reserved(count=nothing, cost=nothing + 0.5, value=nothing),
        settings=settings,
    )
    by_name = {row.name: row for row in problem.rows}
    assert by_name["budget"].high == pytest.approx(10.0 - 0.5 * cells.count * 2)
    assert by_name["few_of_p"].count_weight.tolist() == [1.0, 0.0]
    assert by_name["young"].low == 2.0
    # A floor on return: value - rate * cost >= 0, with what is reserved counted.
    assert by_name["pays"].low == pytest.approx(0.5 * 0.5 * cells.count * 2)
    multipliers = np.array([0.5, 2.0, 0.0, 0.0])
    priced = net_values(
        offers=offers, cells=cells.customers, problem=problem, multipliers=multipliers, promotions=("p", "q")
    ).cache()
    net = {(row["customer_id"], row["promotion_id"]): row[NET_VALUE] for row in priced.collect()}
    assert net["c00001", "p"] == pytest.approx(3.0 - 0.5 - 2.0)
    assert net["c00015", "p"] == pytest.approx(3.0 - 0.5)
    assert net["c00001", "q"] == pytest.approx(1.0 - 0.5)
    response = respond_to_prices(priced=priced, settings=settings).collect()
    assert len(response) == 20
    assert {row["promotion_id"] for row in response if row["customer_id"] >= "c00010"} == {"p"}


def test_limits_that_name_nothing_known_are_told(spark: SparkSession, make_rows: MakeRows) -> None:
    offers, customers = _offers(spark, 12), make_rows(CUSTOMERS, [])
    shoe = Limit(name="shoe", measure="count", at_most=1, group="shoe_size", group_values=("9",))
    with pytest.raises(SettingsError, match="shoe_size"):
        form_cells(offers=offers, customers=customers, limits=(shoe,))
    odd = Limit(name="odd", measure="cost", at_most=1, promotions=("x", "p"), segments=(7,))
    kept, told = keep_known((odd,), ("p", "q"), (1, -1))
    assert kept == ()
    assert told == [
        "odd names promotion x, which nobody may be given and segment 7, of whom nobody may be given anything: "
        "it limits nothing"
    ]


def test_the_log_tells_what_came_second_and_what_would_have_changed_it(
    spark: SparkSession, make_rows: MakeRows
) -> None:
    priced = _offers(spark, 2).withColumn(NET_VALUE, F.col("value_amount") - 0.5)
    assigned = {"as_of_date": DAY, "slot": 1, "value_amount": 3.0, "value_low_amount": 0.0, "value_high_amount": 4.0}
    rows = [
        {**assigned, "customer_id": "c00000", "arm": "p", "reason": "worth_it", "cost_amount": 1.0},
        {**assigned, "customer_id": "c00001", "arm": "none", "reason": "holdout", "cost_amount": 0.0},
    ]
    known = [{"customer_id": "c00000", "promotion_id": "p", "covariates": [1.5, 2.5], "as_of_date": DAY}]
    log = log_decisions(
        assignment=make_rows(ASSIGNMENT, rows),
        priced=priced,
        candidates=make_rows(CANDIDATES, known),
        covariate_names=("visits", "recency"),
        policy="personalised",
        verdict="it earns more than one promotion for all",
        as_of_date=DAY,
        currency="EUR",
    )
    given, held = sorted(log.collect(), key=lambda row: str(row["customer_id"]))
    assert given["inputs"] == {"visits": 1.5, "recency": 2.5}
    assert given["net_values"] == {"p": 2.5, "q": 0.5}
    assert (given["runner_up"], given["runner_up_gap_amount"]) == ("q", pytest.approx(2.0))
    assert given["reasons"][1] == "p is worth 3.00 EUR and costs 1.00 EUR; its interval runs from 0.00 EUR to 4.00 EUR"
    assert given["reasons"][2] == "beside the mean customer: recency -3.00 EUR, visits 2.00 EUR"
    assert given["would_change"] == "p worth 2.00 EUR less, or q that much more"
    assert held["reasons"][0] == "kept back at random, to measure against"
    assert held["runner_up"] == "p"


def test_where_no_effect_is_known_evidence_would_have_changed_it(spark: SparkSession, make_rows: MakeRows) -> None:
    row = {"as_of_date": DAY, "slot": 1, "customer_id": "c00000", "arm": "none", "reason": "not_worth_it"}
    log = log_decisions(
        assignment=make_rows(ASSIGNMENT, [row]),
        priced=_offers(spark, 1).withColumn(NET_VALUE, F.lit(None).cast("double")),
        candidates=make_rows(CANDIDATES, []),
        covariate_names=("visits", "recency"),
        policy="none",
        verdict="nothing is proven",
        as_of_date=DAY,
        currency="EUR",
    )
    (found,) = log.collect()
    assert found["would_change"] == "past decisions that show a promotion to earn more than it costs"


@pytest.mark.parametrize(
    ("policy", "objective", "told"),
    [
        ("constant", "incremental_margin", "every customer is valued alike"),
        ("personalised", "incremental_sales", "valued by incremental_sales"),
        ("none", "incremental_margin", "verdict"),
    ],
)
def test_contributions_are_told_only_where_they_decided(
    spark: SparkSession, make_rows: MakeRows, policy: str, objective: str, told: str
) -> None:
    row = {"as_of_date": DAY, "slot": 1, "customer_id": "c00000", "arm": "p", "reason": "worth_it"}
    log = log_decisions(
        assignment=make_rows(ASSIGNMENT, [{**row, "value_amount": 3.0, "cost_amount": 1.0}]),
        priced=_offers(spark, 1).withColumn(NET_VALUE, F.col("value_amount")),
        candidates=make_rows(CANDIDATES, []),
        covariate_names=("visits", "recency"),
        policy=policy,
        verdict="verdict",
        as_of_date=DAY,
        currency="EUR",
        objective=objective,
    )
    (found,) = log.collect()
    assert found["contributions"] is None
    assert not any("beside the mean customer" in said for said in found["reasons"])
    assert found["reasons"][2].startswith(told)


def test_codes_and_variants_repeat_and_feedback_is_what_learning_reads(make_rows: MakeRows) -> None:
    base = {"as_of_date": DAY, "decision_id": "d", "propensity": 0.5, "is_holdout": False, "is_exploration": False}
    rows = [
        *({**base, "customer_id": f"c{n:04d}", "slot": 1, "arm": "p", "channel": "mail"} for n in range(2000)),
        {**base, "customer_id": "z", "slot": 1, "arm": "none"},
        {**base, "customer_id": "c0001", "slot": 2, "arm": "q"},
    ]
    assignment = make_rows(ASSIGNMENT, rows)
    settings = AssignSettings(variants={"a": 3.0, "b": 1.0})
    sends = list_sends(assignment=assignment, as_of_date=DAY, settings=settings, seed=1).collect()
    again = list_sends(assignment=assignment.repartition(3), as_of_date=DAY, settings=settings, seed=1).collect()
    assert sorted(sends) == sorted(again)
    assert len({row["code"] for row in sends}) == len(sends) == 2001
    share = sum(row["variant"] == "b" for row in sends) / len(sends)
    assert share == pytest.approx(0.25, abs=5 * (0.1875 / 2000) ** 0.5)
    assert {row["channel"] for row in sends} == {"mail", "unknown"}
    feedback = hand_to_learning(assignment=assignment, as_of_date=DAY, time_zone="America/New_York")
    assert feedback.count() == 2001
    arms = {
        row["customer_id"]: row["arm"] for row in feedback.where("customer_id IN ('c0001', 'c0002', 'z')").collect()
    }
    assert arms == {"c0001": "p + q", "c0002": "p", "z": "none"}
    decided = feedback.select(F.max("decided_at")).collect()[0][0]
    assert decided.astimezone(UTC) == datetime(2017, 6, 5, 4, tzinfo=UTC)
