"""Aggregates of measurement, made by hand."""

import pandas as pd

from promo_spark.contracts.campaign_effects import CAMPAIGN_CHECKS, CAMPAIGN_EFFECTS
from promo_spark.contracts.experiments import EFFECTS, EXPERIMENT_CHECKS
from promo_spark.contracts.fairness import CONTACT_PRESSURE, FAIRNESS
from promo_spark.contracts.kpis import KPIS
from promo_spark.contracts.off_policy import OFF_POLICY
from promo_spark.contracts.table import TableContract
from promo_spark.report.measured import Measured

TABLES: dict[str, TableContract] = {
    "effects": EFFECTS,
    "experiment_checks": EXPERIMENT_CHECKS,
    "campaign_effects": CAMPAIGN_EFFECTS,
    "campaign_checks": CAMPAIGN_CHECKS,
    "off_policy": OFF_POLICY,
    "kpis": KPIS,
    "fairness": FAIRNESS,
    "contact_pressure": CONTACT_PRESSURE,
}


def measured(**rows: list[dict[str, object]]) -> Measured:
    """Tables with these rows; what is not written out is unknown."""
    frames = {}
    for name, table in TABLES.items():
        given = [{column: row.get(column) for column in table.column_names} for row in rows.get(name, [])]
        frames[name] = pd.DataFrame(given, columns=list(table.column_names))
    return Measured(**frames)


def measured_of_nothing() -> Measured:
    """Where nothing was measured."""
    return measured()
