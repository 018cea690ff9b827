"""What each decision stood on when it was made, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import DECISION_LOG
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.plans.net_values import NET_VALUE

_MOST_TOLD = 3
_LEAST_TOLD = 0.005  # less is nothing once rounded


def log_decisions(
    *,
    assignment: DataFrame,
    priced: DataFrame,
    candidates: DataFrame,
    covariate_names: Sequence[str],
    policy: str,
    verdict: str,
    as_of_date: date,
    currency: str,
    objective: str = "incremental_margin",
) -> DataFrame:
    """Keep inputs, contributions, alternatives and reasons of every decision.

    Args:
        assignment: plans.assignment.
        priced: plans.offers with their net value.
        candidates: response.candidates, for the inputs.
        covariate_names: What the covariates are.
        policy: personalised, constant or none.
        verdict: Why that policy, in words.
        as_of_date: The day of the decision.
        currency: Of all amounts.
        objective: What was maximised. Contributions are those to incremental margin: they are kept where that, valued
            customer by customer, is what decided.

    Returns:
        plans.decisions, one row per customer of the assignment, lazily.
    """
    first = assignment.where(F.col("slot") == 1).select(
        "customer_id",
        "arm",
        "segment_id",
        "reason",
        "value_amount",
        "value_low_amount",
        "value_high_amount",
        "cost_amount",
    )
    moved = F.map_entries("contributions").alias("moved")  # maps have no order, their entries do
    option = F.struct(NET_VALUE, "promotion_id", "value_amount", "cost_amount", moved)
    options = priced.groupBy("customer_id").agg(F.sort_array(F.collect_list(option)).alias("_options"))
    known = first.join(options, "customer_id", "left").withColumn("_options", F.reverse("_options"))
    spoken = F.when(F.col("arm") != NO_ARM, F.col("arm")).otherwise(F.get("_options", F.lit(0))["promotion_id"])
    own = F.filter("_options", lambda option: option["promotion_id"] == F.col("_spoken"))
    others = F.filter("_options", lambda option: option["promotion_id"] != F.col("arm"))
    named = candidates.select("customer_id", F.col("promotion_id").alias("_spoken"), "covariates")
    detailed = (
        known.withColumn("_spoken", spoken)
        .join(named, ["customer_id", "_spoken"], "left")
        .withColumns({"_own": F.get(own, F.lit(0)), "_next": F.get(others, F.lit(0))})
    )
    is_given = F.col("arm") != NO_ARM
    # Giving nothing is worth 0: it is the runner-up of an offer that nothing else comes close to.
    next_net = F.coalesce(F.col(f"_next.{NET_VALUE}"), F.lit(float("-inf")))
    is_next = ~is_given | (next_net > 0)
    gap = F.when(is_given, F.col(f"_own.{NET_VALUE}")).otherwise(F.lit(0.0)) - F.when(is_next, next_net).otherwise(
        F.lit(0.0)
    )
    has_moved = policy == "personalised" and objective == "incremental_margin"
    movers = _movers(currency) if has_moved else F.lit(_what_decided(policy, objective))
    told = detailed.withColumns(
        {
            "as_of_date": F.lit(as_of_date),
            "inputs": _named_values(covariate_names),
            "contributions": F.map_from_entries("_own.moved") if has_moved else F.lit(None),
            "offer_values": _by_promotion("value_amount"),
            "offer_costs": _by_promotion("cost_amount"),
            "net_values": _by_promotion(NET_VALUE),
            "runner_up": F.when(is_next, F.col("_next.promotion_id")).otherwise(F.when(is_given, F.lit(NO_ARM))),
            "runner_up_gap_amount": F.when(F.abs(gap) < float("inf"), gap),
            "policy": F.lit(policy),
        }
    ).withColumns({"reasons": _reasons(verdict, movers, currency), "would_change": _would_change(currency)})
    return told.select(*(F.col(column.name).cast(column.dtype) for column in DECISION_LOG.columns))


def _named_values(names: Sequence[str]) -> Expression:
    keys = F.array(*(F.lit(name) for name in names))
    return F.when(F.col("covariates").isNotNull(), F.map_from_arrays(keys, F.col("covariates")))


def _by_promotion(field: str) -> Expression:
    return F.map_from_entries(F.transform("_options", lambda option: F.struct(option["promotion_id"], option[field])))


def _money(amount: Expression, currency: str) -> Expression:
    return F.concat(F.format_number(amount, 2), F.lit(f" {currency}"))


def _what_decided(policy: str, objective: str) -> str | None:
    """What stands where no customer's own contributions decided; nothing where nothing was valued."""
    if policy == "constant":
        return "every customer is valued alike, as the promotion did for all on average: nothing of this one counted"
    if policy == "personalised":
        return f"valued by {objective}; what moves it for this customer is not known apart"
    return None


def _reasons(verdict: str, movers: Expression, currency: str) -> Expression:
    """Why, in up to six sentences."""
    interval = F.when(
        F.col("value_low_amount").isNotNull(),
        F.concat(
            F.lit("; its interval runs from "),
            _money(F.col("value_low_amount"), currency),
            F.lit(" to "),
            _money(F.col("value_high_amount"), currency),
        ),
    ).otherwise(F.lit(""))
    worth = F.concat(
        F.col("arm"),
        F.lit(" is worth "),
        _money(F.col("value_amount"), currency),
        F.lit(" and costs "),
        _money(F.col("cost_amount"), currency),
        interval,
    )
    best = F.concat(
        F.col("_spoken"),
        F.lit(" would come first, with "),
        _money(F.col("_own.value_amount"), currency),
        F.lit(", of which "),
        _money(F.col("_own.value_amount") - F.col(f"_own.{NET_VALUE}"), currency),
        F.lit(" go for what it uses of scarce budget and volume"),
    )
    words = {
        "forced": "a manager decided it",
        "holdout": "kept back at random, to measure against",
        "exploration": "drawn at random, to learn from",
        "worth_it": "chosen for the most value under the limits",
        "limit": "what it would get is worth more for others under the limits",
        "not_worth_it": "no promotion is worth more than it costs, limits counted",
    }
    why = F.col("reason")
    for code, text in words.items():
        why = F.when(F.col("reason") == code, F.lit(text)).otherwise(why)
    is_given = F.col("arm") != NO_ARM
    said = F.array(why, F.when(is_given, worth).otherwise(best), movers, F.lit(verdict))
    return F.filter(said, lambda sentence: sentence.isNotNull() & (sentence != ""))


def _movers(currency: str) -> Expression:
    """The largest contributions beside the mean customer."""
    sized = F.transform(
        F.map_entries("contributions"),
        lambda entry: F.struct((-F.abs(entry["value"])).alias("size"), entry["key"], entry["value"]),
    )
    told = F.filter(sized, lambda part: part["size"] <= -_LEAST_TOLD)
    largest = F.slice(F.sort_array(told), 1, _MOST_TOLD)
    spelt = F.transform(
        largest,
        lambda entry: F.concat(entry["key"], F.lit(" "), F.format_number(entry["value"], 2), F.lit(f" {currency}")),
    )
    listed = F.concat(F.lit("beside the mean customer: "), F.array_join(spelt, ", "))
    return F.when(F.size(largest) > 0, listed)


def _would_change(currency: str) -> Expression:
    gap = _money(F.abs(F.col("runner_up_gap_amount")), currency)
    is_given = F.col("arm") != NO_ARM
    if_given = F.concat(
        F.col("arm"), F.lit(" worth "), gap, F.lit(" less, or "), F.col("runner_up"), F.lit(" that much more")
    )
    if_not = F.concat(F.col("runner_up"), F.lit(" worth "), gap, F.lit(" more"))
    by_chance = F.col("reason").isin("holdout", "exploration", "forced")
    is_unproven = F.col("runner_up_gap_amount").isNull() & F.col("runner_up").isNotNull() & ~is_given
    return (
        F.when(by_chance, F.lit("another draw, or another word of the manager"))
        .when(is_unproven, F.lit("past decisions that show a promotion to earn more than it costs"))
        .when(F.col("runner_up_gap_amount").isNull(), F.lit("another promotion that this customer may be given"))
        .when(is_given, if_given)
        .otherwise(if_not)
    )
