"""From decisions to a fitted model of uplift in one call, as the stage does it step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame

from promo_spark.response.uplift_learners import Prepared, learn_uplift, prepare_learning
from promo_spark.response.uplift_model import UpliftModel, make_model
from promo_spark.response.uplift_rows import prepare_rows


@contextmanager
def learning_from(rows: DataFrame, **told: Any) -> Iterator[Prepared]:
    """What every learner starts from; arguments of ``prepare_rows``."""
    with prepare_rows(rows=rows, **{"folds": 3, "propensity_floor": 0.02, **told}) as prepared:
        yield prepare_learning(rows=prepared, ridge=1.0, depths=None)


def fit_uplift(rows: DataFrame, learner: str = "dr_linear", **told: Any) -> UpliftModel:
    """Fit one learner."""
    with learning_from(rows, **told) as learning:
        return make_model(rows=learning.rows, learnt=learn_uplift(prepared=learning, learner=learner))
