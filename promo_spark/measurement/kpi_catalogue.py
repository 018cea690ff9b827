"""Every key figure: what it is made of, and why it may not be known."""

from __future__ import annotations

from dataclasses import dataclass

from promo_spark.kernels.kpi_estimates import Kind

COUNT_OF_ONE = ""


@dataclass(frozen=True)
class Kpi:
    """A figure.

    Attributes:
        name: Its name.
        kind: How it is made (``kernels.kpi_estimates``).
        top: Measures that are added up; one with a minus is subtracted.
        bottom: Measures it is a ratio to; one per customer where there is none.
        beside: The second amount of gain_over_cost and displacement.
        unit: Unit.
        meaning: What it is, in words.
        missing: What is not known where it is NULL.
        kind_before: How it is made beside the days before, where that is another way.
    """

    name: str
    kind: Kind
    top: tuple[str, ...]
    unit: str
    meaning: str
    missing: str = ""
    bottom: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    kind_before: Kind | None = None


_NO_DISCOUNT = "no line of a basket tells a discount"
_NO_COVER = "what the promotion covers is not known"
_COST = ("promoted_discount", "contact_cost")

PERIOD_KPIS = (
    Kpi("sales", "total", ("sales",), "currency", "What customers paid, refunds subtracted"),
    Kpi("margin", "total", ("margin",), "currency", "Margin rate of the regular price, less the retailer's discounts"),
    Kpi("discount", "total", ("discount",), "currency", "Discounts that the retailer paid", _NO_DISCOUNT),
    Kpi("visits", "total", ("visits",), "count", "Days on which a customer bought or browsed, over customers"),
    Kpi("new_visits", "total", ("new_visits",), "count", "Visits of customers whose first falls in the period"),
    Kpi("returning_visits", "total", ("visits", "-new_visits"), "count", "Visits of customers known before"),
    Kpi("new_customers", "total", ("new_customers",), "count", "Customers whose first purchase falls in the period"),
    Kpi(
        "new_registrations",
        "total",
        ("registrations",),
        "count",
        "Customers who registered in the period",
        "no customer has a day of registration",
    ),
    Kpi(
        "conversion",
        "ratio",
        ("buyers",),
        "share",
        "Customers who bought over customers known by the end of the period",
        bottom=("known",),
    ),
    Kpi(
        "average_order_value",
        "ratio",
        ("sales",),
        "currency per basket",
        "Sales over baskets, those that only bring goods back left out of the count",
        "nobody bought anything",
        bottom=("orders",),
    ),
    Kpi(
        "lifetime_value",
        "ratio",
        ("lifetime_value",),
        "currency per customer",
        "Mean lifetime value of the customers known, at the date and at the newest date a period before",
        "no lifetime value was estimated",
        bottom=("valued",),
    ),
    Kpi(
        "satisfaction",
        "ratio",
        ("rating_sum",),
        "the retailer's scale",
        "Mean of the ratings given in the period",
        "no ratings are known of the period",
        bottom=("ratings",),
    ),
    Kpi(
        "complaints",
        "ratio",
        ("return_orders",),
        "share",
        "Baskets that brought goods back over baskets that took any",
        "no line of a basket is a return",
        bottom=("orders",),
    ),
)

PROMOTION_KPIS = (
    Kpi(
        "ctr",
        "ratio",
        ("clicks",),
        "share",
        "Clicks on what a promotion covers, by who was given it, over exposures",
        "no exposures, or no clicks, are known",
        bottom=("exposures",),
    ),
    Kpi(
        "participation",
        "ratio",
        ("redeemers",),
        "share",
        "Customers who redeemed over customers given the promotion",
        "no redemptions are known",
    ),
    Kpi(
        "promotion_conversion",
        "ratio",
        ("promoted_buyers",),
        "share",
        "Customers who bought what the promotion covers over customers given it",
        _NO_COVER,
    ),
    Kpi("visits_per_customer", "ratio", ("visits",), "count per customer", "Days with a purchase, per customer given"),
    Kpi("sales_per_customer", "ratio", ("sales",), "currency per customer", "Sales per customer given it"),
    Kpi(
        "net_margin_per_customer",
        "ratio",
        ("margin", "-contact_cost"),
        "currency per customer",
        "Margin less discounts and contact cost, per customer given it",
    ),
    Kpi(
        "promoted_sales_per_customer",
        "ratio",
        ("promoted_sales",),
        "currency per customer",
        "Sales of what the promotion covers, per customer given it",
        _NO_COVER,
    ),
    Kpi(
        "neighbour_sales_per_customer",
        "ratio",
        ("neighbour_sales",),
        "currency per customer",
        "Sales of other products of the categories it covers, per customer given it",
        _NO_COVER,
    ),
    Kpi(
        "cannibalisation",
        "displacement",
        ("neighbour_sales",),
        "ratio",
        "Sales that neighbouring products lost for each unit of currency that promoted ones gained",
        f"{_NO_COVER}, it gained nothing, or there is nothing to compare with",
        beside=("promoted_sales",),
    ),
    Kpi(
        "discount_to_sure_buyers",
        "quotient",
        ("promoted_buyers",),
        "share",
        "Discount that went to who would have bought anyway: the share that bought among those kept from the promotion "
        "over that among those given it; beside the days before, the share of the discount that went to customers who "
        "had bought what it covers then",
        f"{_NO_COVER}, or there is nothing to compare with",
        kind_before="ratio",
    ),
    Kpi(
        "roi",
        "ratio",
        ("promoted_margin", "-contact_cost"),
        "ratio",
        "Margin on what it covers over discount and contact cost, as if nothing would have been sold without it",
        f"{_NO_COVER}, or it cost nothing",
        bottom=_COST,
    ),
    Kpi(
        "incremental_roi",
        "gain_over_cost",
        ("margin", "-contact_cost"),
        "ratio",
        "Margin gained, after discount and contact cost, over that cost",
        f"{_NO_COVER}, it cost nothing, or there is nothing to compare with",
        beside=_COST,
    ),
)

PLAN_KPIS = (
    Kpi(
        "sales_attainment",
        "ratio",
        ("actual",),
        "ratio",
        "Actual over expected sales of the newest plan that has run its course, in the categories it plans",
        "no plan of an earlier date has run its course",
    ),
    Kpi(
        "redemption_attainment",
        "ratio",
        ("actual",),
        "ratio",
        "Actual over expected redemptions, where an earlier plan's promotion was really given",
        "no promotion of an earlier plan was given and has run its course",
    ),
)

SUCCESS = Kpi(
    "success_rate",
    "ratio",
    (),
    "share",
    "Share of promotions whose margin, after discount and contact cost, is above what it is compared with",
    "there is nothing to compare any promotion with",
)
SUCCESS_OF = "net_margin_per_customer"

CATALOGUE = {kpi.name: kpi for kpi in (*PERIOD_KPIS, *PROMOTION_KPIS, *PLAN_KPIS, SUCCESS)}


def kind_of(name: str, comparison: str) -> Kind:
    """How a figure is made beside what it is compared with."""
    kpi = CATALOGUE[name]
    return kpi.kind_before if comparison == "before" and kpi.kind_before else kpi.kind
