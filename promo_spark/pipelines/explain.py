"""Print why a customer was, or was not, given a promotion: what the decision stood on when it was made.

For instance:
  ./spark-submit.sh jobs/explain.py --customer 1228
  ./spark-submit.sh jobs/explain.py --customer 1228 --as-of 2017-10-30 --config conf/local.yaml
"""

from __future__ import annotations

import argparse
from typing import Any

from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT, DECISION_LOG
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.settings import Settings
from promo_spark.errors import HistoryError
from promo_spark.runtime.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare who is asked about."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--customer", metavar="ID", help="the retailer's own customer id")
    who.add_argument("--pseudonym", metavar="ID", help="customer_id of the warehouse's tables")


def answer(options: argparse.Namespace, settings: Settings, store: Store) -> str:
    """Look the decision up and word it.

    Raises:
        HistoryError: The customer is not known, or nothing was decided for them on that date.
    """
    day = settings.as_of_date
    customer = options.pseudonym or _pseudonym(options.customer, store)
    logged = store.read(DECISION_LOG, day).where(F.col("customer_id") == F.lit(customer)).first()
    if logged is None:
        raise HistoryError(
            f"nothing was decided for this customer on {day}: no decision was made that day (run jobs/assign.py), or "
            "the customer could not be given any promotion (consent, lists, contact limits, no purchase before)."
        )
    assigned = store.read(ASSIGNMENT, day).where(F.col("customer_id") == F.lit(customer)).orderBy("slot").collect()
    return word_decision(
        {**logged.asDict(recursive=True), "assigned": [row.asDict() for row in assigned]}, settings.currency
    )


def word_decision(decision: dict[str, Any], currency: str) -> str:
    """The decision as text.

    Args:
        decision: A row of plans.decisions, and under ``assigned`` the customer's rows of plans.assignment.
        currency: Of all amounts.
    """
    lines = [f"customer {decision['customer_id']}, decided for {decision['as_of_date']}", ""]
    lines += [
        f"slot {row['slot']}: {row['arm']} (probability of this {row['propensity']:.3f}, {row['reason']})"
        for row in decision["assigned"]
    ]
    lines += ["", "why"]
    lines += [f"  - {reason}" for reason in decision["reasons"]]
    lines += [f"  - it would have been otherwise with {decision['would_change']}"]
    if decision["offer_values"]:
        lines += ["", f"{'promotion':<24}{'value':>10}{'cost':>10}{'net':>10}   {currency}"]
        ranked = sorted(decision["net_values"].items(), key=lambda item: -_number(item[1]))
        for name, net in ranked:
            value, cost = decision["offer_values"][name], decision["offer_costs"][name]
            lines.append(f"{name:<24}{_amount(value)}{_amount(cost)}{_amount(net)}")
    if decision["inputs"]:
        moved = decision["contributions"] or {}
        lines += ["", f"{'what was known':<44}{'value':>10}{'adds':>10}"]
        names = sorted(decision["inputs"], key=lambda name: (-abs(moved.get(name, 0.0)), name))
        lines += [f"{name:<44}{decision['inputs'][name]:>10.3f}{_amount(moved.get(name))}" for name in names]
    return "\n".join(lines)


def _number(value: float | None) -> float:
    return float("-inf") if value is None else value


def _amount(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.2f}"


def _pseudonym(raw_id: str, store: Store) -> str:
    rows = store.read(IDENTITY_CUSTOMERS).where(F.col("raw_customer_id") == F.lit(raw_id))
    known = rows.orderBy(F.desc("key_version")).first()
    if known is None:
        raise HistoryError(f"no customer {raw_id} has ever been taken in: check the id, or give --pseudonym.")
    return str(known["customer_id"])
