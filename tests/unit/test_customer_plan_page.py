"""The page's section on single customers."""

import pandas as pd

from promo_spark.report.customer_plan import CustomerPlan, assigned_table, budget_chart, policy_chart


def test_promotions_are_summed_over_segments_and_nothing_comes_last() -> None:
    rows = [
        {"segment_id": segment, "promotion_id": name, "customer_count": count, "holdout_count": held}
        for segment, name, count, held in ((0, "none", 50, 9), (0, "p", 10, 0), (1, "p", 5, 0), (1, "q", 20, 0))
    ]
    sums = {"exploration_count": 1, "expected_redemption_count": 2.0, "value_amount": 3.0, "cost_amount": 1.0}
    table = assigned_table(pd.DataFrame([{**row, **sums} for row in rows]))
    assert [row["promotion_id"] for row in table] == ["q", "p", "none"]
    assert table[1]["customer_count"] == 15
    assert table[1]["value_amount"] == 6.0
    assert table[2]["holdout_count"] == 9
    assert assigned_table(CustomerPlan.of_nothing().assigned) == []


def test_charts_show_every_policy_and_the_planned_budget() -> None:
    policies = pd.DataFrame(
        {"policy": ["none", "personalised"], "value_amount": [0.0, 1.0], "standard_error": [0.0, 0.2]}
    ).assign(is_chosen=[False, True])
    labels = [text.get_text() for text in policy_chart(policies, "EUR").axes[0].get_yticklabels()]
    assert labels == ["none", "personalised"]
    curve = pd.DataFrame({"budget_amount": [2.0, 1.0], "value_amount": [3.0, 2.0], "bound_amount": [3.1, 2.0]}).assign(
        is_planned=[False, True]
    )
    lines = budget_chart(curve, "EUR").axes[0].lines
    assert list(lines[1].get_xdata()) == [1.0, 2.0]
    assert list(lines[2].get_xdata()) == [1.0]
