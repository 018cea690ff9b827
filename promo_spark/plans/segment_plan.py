"""The plan: one row per segment and category, the offer it gets or why it gets none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.offers import Offer
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.response import EFFECTS, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_PROFILES
from promo_spark.contracts.settings import PlanSettings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.step import produces
from promo_spark.plans.candidates import gather_segment_offers
from promo_spark.plans.decisions import NONE, Candidates, Decisions, decide, lay_out
from promo_spark.plans.reasons import Case, Words


@dataclass(frozen=True)
class Brief:
    """What a plan is made under: offers, rules, currency and the first day."""

    offers: tuple[Offer, ...]
    settings: PlanSettings
    currency: str
    start_date: date


@produces(
    SEGMENT_PLAN,
    effects=EFFECTS,
    profiles=SEGMENT_PROFILES,
    segment_customers=SEGMENT_CUSTOMERS,
    customer_features=CUSTOMER_FEATURES,
    planned_products=PLANNED_PRODUCTS,
    order_lines=ORDER_LINES,
)
def plan_segments(
    *,
    effects: DataFrame,
    profiles: DataFrame,
    segment_customers: DataFrame,
    customer_features: DataFrame,
    planned_products: DataFrame,
    order_lines: DataFrame,
    as_of_date: date,
    offers: tuple[Offer, ...],
    settings: PlanSettings,
    currency: str,
) -> DataFrame:
    """Decide what each segment gets in each planned category.

    Args:
        effects: response.effects; where there are none, nothing is promoted.
        profiles: segments.profiles.
        segment_customers: segments.customers.
        customer_features: features.customers.
        planned_products: response.products.
        order_lines: silver.order_lines, for how spending differs between customers.
        as_of_date: The day of the decision.
        offers: What may be chosen.
        settings: Budget, limits and evidence asked for.
        currency: Of all amounts.

    Returns:
        plans.segment_plan; all amounts are for the customers told, those kept back left out.
    """
    candidates = gather_segment_offers(
        effects=effects,
        profiles=profiles,
        segment_customers=segment_customers,
        customer_features=customer_features,
        planned_products=planned_products,
        order_lines=order_lines,
        as_of_date=as_of_date,
        weeks=settings.weeks,
    )
    brief = Brief(offers, settings, currency, as_of_date + timedelta(days=settings.lead_days))
    known = candidates.where(F.col("offer_id").isNull() | F.col("offer_id").isin([offer.offer_id for offer in offers]))
    return known.groupBy("as_of_date").applyInPandas(_planner(brief), SEGMENT_PLAN.schema(all_nullable=True))


def _planner(brief: Brief) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def plan(rows: pd.DataFrame) -> pd.DataFrame:
        return plan_rows(rows, brief)

    return plan


def plan_rows(rows: pd.DataFrame, brief: Brief) -> pd.DataFrame:
    """Decide on candidate rows of one date and write the plan's rows out.

    Args:
        rows: What `gather_segment_offers` gives: a few thousand rows, aggregates only.
        brief: Offers and rules.
    """
    candidates = lay_out(rows, brief.offers, brief.settings)
    decisions = decide(candidates, brief.settings)
    heads: list[dict[str, Any]] = candidates.cells.to_dict("records")  # type: ignore[assignment]
    told = [_row(cell, head, candidates, decisions, brief) for cell, head in enumerate(heads)]
    return pd.DataFrame(told, columns=list(SEGMENT_PLAN.column_names), dtype=object)  # a column may be all NULL


def _row(
    cell: int,
    head: dict[str, Any],
    candidates: Candidates,
    decisions: Decisions,
    brief: Brief,
) -> dict[str, Any]:
    promoted, tested = int(decisions.promoted[cell]), int(decisions.tested[cell])
    offered = promoted if promoted != NONE else tested
    spoken = offered if offered != NONE else int(decisions.best[cell])
    runner_up = int(decisions.runner_up[cell])
    values = _values(cell, head, spoken, candidates)
    case = Case(
        offer_name=brief.offers[spoken].name if spoken != NONE else None,
        runner_up_name=brief.offers[runner_up].name if runner_up != NONE else None,
        values=values,
        runner_up_margin=float(candidates.values["margin_amount"][cell, runner_up]) if runner_up != NONE else math.nan,
        p_value=float(decisions.p_value[cell]),
        test_size=float(decisions.test_size[cell]),
        segment_size=int(head["segment_size"]),
        store_count=0 if pd.isna(head["store_count"]) else int(head["store_count"]),
        is_store_wide=spoken != NONE and brief.offers[spoken].is_store_wide,
        is_proven=bool(decisions.is_proven[cell]),
        is_margin_assumed=head["is_margin_assumed"] is not False,
    )
    words = Words(brief.settings, brief.currency)
    decision = "promote" if promoted != NONE else "test" if tested != NONE else "none"
    reasons = {"promote": words.promote, "test": words.test, "none": words.decline}[decision](case)
    seen = values["evidence_week_count"] > 0
    return {
        "segment_id": int(head["segment_id"]),
        "category": head["category"],
        "as_of_date": head["as_of_date"],
        "segment_name": head["segment_name"],
        "decision": decision,
        "time_slot": head["time_slot"],
        "start_date": brief.start_date,
        "end_date": brief.start_date + timedelta(days=7 * brief.settings.weeks - 1),
        "customer_count": int(head["segment_size"]),
        "holdout_rate": brief.settings.holdout_rate,
        "holdout_unit": None if offered == NONE else "store" if case.is_store_wide else "customer",
        "margin_rate": values["margin_rate"],
        "is_margin_assumed": case.is_margin_assumed,
        "adjusted_p_value": case.p_value,
        "runner_up_offer_id": brief.offers[runner_up].offer_id if runner_up != NONE else None,
        "runner_up_margin_amount": case.runner_up_margin,
        "reasons": reasons,
        "learnt_from": "observational" if seen else "assumed",
        **(_offered(brief.offers[offered], values, case, decision) if offered != NONE else _nothing(values)),
    }


def _values(
    cell: int,
    head: dict[str, Any],
    offer: int,
    candidates: Candidates,
) -> dict[str, float]:
    """Numbers of one offer in one cell; NaN where there is no effect."""
    if offer == NONE:
        blank = dict.fromkeys(candidates.values, math.nan)
        return {**blank, "margin_rate": math.nan, "break_even_margin_rate": math.nan, "line_amount": math.nan}
    values = {name: float(matrix[cell, offer]) for name, matrix in candidates.values.items()}
    gross = values["incremental_sales_amount"] + values["discount_cost_amount"]
    values["margin_rate"] = float(head["margin_rate"])
    values["break_even_margin_rate"] = values["cost_amount"] / gross if gross > 0 else math.nan
    values["line_amount"] = _number(head["line_amount"])
    return values


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _offered(offer: Offer, values: dict[str, float], case: Case, decision: str) -> dict[str, Any]:
    """Columns of a row that promotes an offer, or proposes a test of it (for which nothing is set aside)."""
    cost, base = values["cost_amount"], values["base_sales_amount"]
    is_promoted = decision == "promote"
    size = None if is_promoted or np.isnan(case.test_size) else int(case.test_size)
    return {
        "offer_id": offer.offer_id,
        "mechanic": offer.mechanic,
        "depth_rate": offer.depth_rate,
        "threshold_amount": offer.threshold_amount,
        "channel": offer.channel,
        "budget_amount": max(0.0, cost) if is_promoted else 0.0,
        "base_sales_amount": base,
        "expected_sales_amount": base + values["incremental_sales_amount"],
        "incremental_sales_amount": values["incremental_sales_amount"],
        "sales_low_amount": values["sales_low_amount"],
        "sales_high_amount": values["sales_high_amount"],
        "expected_redemption_count": base * (1.0 + values["lift_rate"]) / values["line_amount"]
        if values["line_amount"] > 0
        else math.nan,
        "cost_amount": cost,
        "incremental_margin_amount": values["margin_amount"],
        "margin_low_amount": values["margin_low_amount"],
        "margin_high_amount": values["margin_high_amount"],
        "roi_rate": values["margin_amount"] / cost if cost > 0 else math.nan,
        "break_even_margin_rate": values["break_even_margin_rate"],
        "test_customer_count": None if case.is_store_wide else size,
        "test_store_count": size if case.is_store_wide else None,
    }


def _nothing(values: dict[str, float]) -> dict[str, Any]:
    """Columns of a row without an offer: sales stay as they are."""
    base = values["base_sales_amount"]
    changes = ("incremental_sales_amount", "sales_low_amount", "sales_high_amount", "cost_amount", "budget_amount")
    margins = ("incremental_margin_amount", "margin_low_amount", "margin_high_amount", "expected_redemption_count")
    return {
        "offer_id": "none",
        "base_sales_amount": base,
        "expected_sales_amount": base,
        "break_even_margin_rate": values["break_even_margin_rate"],
        **dict.fromkeys((*changes, *margins), 0.0),
    }
