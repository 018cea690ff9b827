"""Which days count of a decision that nobody designed here."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.experiment_settings import ExperimentSettings
from promo_spark.contracts.experiments import EXPERIMENT_UNITS, EXPERIMENTS
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import ASSIGNMENTS
from promo_spark.measurement.experiment_decisions import list_drawn
from tests.conftest import MakeRows

DAY = date(2024, 6, 3)
DECIDED = DAY - timedelta(days=60)


@pytest.fixture
def ledger(make_rows: MakeRows) -> DataFrame:
    rows = [
        {
            "decision_id": "spring",
            "customer_id": f"c{place}",
            "arm": "coupon" if place % 2 else "none",
            "propensity": 0.5,
            "is_holdout": False,
            "decided_at": datetime(DECIDED.year, DECIDED.month, DECIDED.day, 12, tzinfo=UTC),
        }
        for place in range(4)
    ]
    return make_rows(ASSIGNMENTS, rows)


@pytest.mark.spark
def test_outcomes_count_for_the_days_of_the_settings_and_no_longer(make_rows: MakeRows, ledger: DataFrame) -> None:
    drawn = list_drawn(
        assignments=ledger,
        feedback=make_rows(FEEDBACK, []),
        experiments=make_rows(EXPERIMENTS, []),
        experiment_units=make_rows(EXPERIMENT_UNITS, []),
        as_of_date=DAY,
        time_zone="UTC",
        settings=ExperimentSettings(outcome_days=28),
    )
    found = {(row.first_date, row.end_date) for row in drawn.collect()}
    assert found == {(DECIDED, DECIDED + timedelta(days=28))}
