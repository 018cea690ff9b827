"""What is persisted for past decisions is let go of where valuing them fails; no JVM."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame

from promo_spark.response import valued_decisions


def test_what_was_persisted_is_let_go_of_where_learning_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[bool] = []

    def fail(**_: Any) -> None:
        raise ValueError("nothing to learn")

    prepared = SimpleNamespace(release=lambda: released.append(True))
    monkeypatch.setattr(valued_decisions, "prepare_rows", lambda **_: prepared)
    monkeypatch.setattr(valued_decisions, "prepare_learning", fail)
    with pytest.raises(ValueError, match="nothing to learn"):
        valued_decisions.value_decisions(
            rows=cast(DataFrame, None),
            objective="earned_amount",
            cost="paid_amount",
            contact_costs={},
            covariate_names=(),
            learner="dr_linear",
            folds=2,
            budget_per_customer=None,
            shrink=False,
            propensity_floor=0.02,
            ridge=1.0,
            seed=1,
        )
    assert released == [True]
