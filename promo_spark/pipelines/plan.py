"""Decide which segment gets which offer."""

from __future__ import annotations

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.response import EFFECTS, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_PROFILES
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.plans.decisions import decide, lay_out
from promo_spark.plans.figures import plan_figure
from promo_spark.plans.segment_plan import plan_segments
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_TOLERATED_GAP = 1e-6  # what rounding leaves of a choice that is exact
_SUMS = {
    "plan_cost": "cost_amount",
    "plan_budget_set_aside": "budget_amount",
    "plan_incremental_sales": "incremental_sales_amount",
    "plan_incremental_margin": "incremental_margin_amount",
    "plan_incremental_margin_low": "margin_low_amount",
    "plan_incremental_margin_high": "margin_high_amount",
}


def run(stage: Stage) -> None:
    """Make the plan and account for it."""
    settings = stage.settings
    if not stage.has(EFFECTS):
        stage.limitation("no effect of any offer is known: the plan promotes nothing.")
    if settings.plan.budget_amount == 0:
        stage.limitation("the budget is 0: nothing that costs money is promoted.")
    plan = plan_segments(
        effects=stage.read(EFFECTS),
        profiles=stage.read(SEGMENT_PROFILES),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        customer_features=stage.read(CUSTOMER_FEATURES),
        planned_products=stage.read(PLANNED_PRODUCTS),
        order_lines=stage.read(ORDER_LINES),
        as_of_date=stage.as_of_date,
        offers=settings.promotions.offers,
        settings=settings.plan,
        currency=settings.currency,
    )
    stage.write(SEGMENT_PLAN, plan)
    _account(stage)


def _account(stage: Stage) -> None:
    plan = stage.read(SEGMENT_PLAN).orderBy("segment_id", "category").toPandas()
    promoted = plan[plan["decision"] == "promote"]
    stage.metrics(
        {
            "plan_promote_count": float(len(promoted)),
            "plan_test_count": float((plan["decision"] == "test").sum()),
            "plan_budget": stage.settings.plan.budget_amount,
            "plan_budget_marginal_return": _marginal_return(stage),
            **{name: float(promoted[column].sum()) for name, column in _SUMS.items()},
        }
    )
    stage.table("segment_plan", plan)
    stage.figure("segment_plan", plan_figure(plan, stage.settings.currency))


def _marginal_return(stage: Stage) -> float:
    """What one more unit of budget would add to the objective: the same decision, made again for its price."""
    effects = stage.read(EFFECTS).toPandas()
    if effects.empty:
        return 0.0
    settings, offers = stage.settings.plan, stage.settings.promotions.offers
    unknown = dict.fromkeys(("spend_sd_amount", "store_count", "store_change_sd_amount"), float("nan"))
    rows = effects.assign(segment_size=effects["customer_count"], **unknown)
    decisions = decide(lay_out(rows, offers, settings), settings)
    if decisions.gap > _TOLERATED_GAP:
        stage.limitation(
            f"the solver ran out of time: the plan is feasible, but another may be worth {decisions.gap:.2%} more."
        )
    return decisions.budget_value


PIPELINE = Pipeline(
    name="plan",
    summary="Decide which segment gets which offer in which category, under a budget.",
    reads=(EFFECTS, SEGMENT_PROFILES, SEGMENT_CUSTOMERS, CUSTOMER_FEATURES, PLANNED_PRODUCTS, ORDER_LINES),
    writes=(SEGMENT_PLAN,),
    run=run,
    settings=("plan", "promotions", "currency"),
    headlines=("plan_promote_count", "plan_test_count", *_SUMS),
    purpose="personalisation",
)
