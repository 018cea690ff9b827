"""Draws of holdout and exploration."""

from datetime import date

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.silver import OVERRIDES
from promo_spark.plans.roles import draw_roles
from tests.conftest import MakeRows

DAY = date(2017, 6, 5)


def test_roles_are_drawn_at_their_rates_and_do_not_depend_on_partitions(
    spark: SparkSession, make_rows: MakeRows
) -> None:
    size = 20_000
    customers = spark.range(size).select(F.format_string("c%05d", "id").alias("customer_id"))
    promotions = customers.withColumn("promotion_id", F.explode(F.array(F.lit("p"), F.lit("q"), F.lit("r"))))
    rows = promotions.select("*", *(F.lit(None).cast(c.dtype).alias(c.name) for c in OFFERS.columns[2:]))
    settings = AssignSettings(holdout_rate=0.1, exploration_rate=0.05)
    overrides = make_rows(OVERRIDES, [{"customer_id": "c00007", "promotion_id": "q", "action": "force"}])

    def drawn(parts: int, seed: int = 1) -> dict[str, tuple[str, tuple[str, ...] | None]]:
        roles = draw_roles(
            offers=rows.repartition(parts), overrides=overrides, as_of_date=DAY, settings=settings, seed=seed
        )
        return {row["customer_id"]: (row["role"], row["given"] and tuple(row["given"])) for row in roles.collect()}

    first = drawn(3)
    assert first == drawn(5)
    assert first != drawn(3, seed=2)
    assert len(first) == size
    assert first["c00007"] == ("forced", ("q",))
    counts = {role: sum(1 for told, _ in first.values() if told == role) for role in ("holdout", "exploration")}
    # Five standard errors of a share.
    assert counts["holdout"] / size == pytest.approx(0.1, abs=5 * (0.09 / size) ** 0.5)
    assert counts["exploration"] / size == pytest.approx(0.05, abs=5 * (0.0475 / size) ** 0.5)
    explored = [given for role, given in first.values() if role == "exploration"]
    for promotion in ("p", "q", "r"):
        share = sum(1 for given in explored if given == (promotion,)) / len(explored)
        assert share == pytest.approx(1 / 3, abs=5 * (2 / 9 / len(explored)) ** 0.5)
    assert all(given is None for role, given in first.values() if role in ("holdout", "decided"))
