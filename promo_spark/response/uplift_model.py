"""A fitted learner of uplift as Spark's own kind of model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.ml import Model
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf
from threadpoolctl import threadpool_limits

from promo_spark.contracts.arrow_matrices import matrix_of
from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.effect_models import CONTROL, LinearUplift
from promo_spark.kernels.gram_regression import Floats
from promo_spark.response.uplift_groups import fit_groups
from promo_spark.response.uplift_learners import Learnt
from promo_spark.response.uplift_rows import UpliftRows
from promo_spark.response.uplift_state import UpliftState, pack_state, unpack_state

CONTRIBUTIONS = "contributions"
_RESULT = "_uplift"
# Its types demand the kind of function, at which it warns: it reads that from the function's own hints.
_arrow_udf: Callable[..., Callable[..., Expression]] = arrow_udf


class UpliftModel(Model, DefaultParamsReadable["UpliftModel"], DefaultParamsWritable):
    """Says what each arm adds to each outcome of a customer, with an interval.

    ``transform`` takes rows with arm and covariates (an array of doubles), and adds for every outcome o the columns
    uplift_o, uplift_o_low and uplift_o_high, and ``contributions``: for the first outcome, how far each covariate moves
    the uplift away from that of the mean customer; NULL for trees. The control adds 0; all are NULL for an arm that
    was not learnt.
    """

    state = Param(Params._dummy(), "state", "all that was fitted, as text", TypeConverters.toString)

    def __init__(self, state: UpliftState | None = None) -> None:
        super().__init__()
        if state is not None:
            self._set(state=pack_state(state))

    def fitted(self) -> UpliftState:
        """All that was fitted."""
        return unpack_state(self.getOrDefault(self.state))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, the control first."""
        return self.fitted().arms

    @property
    def learnt_from(self) -> str:
        """``randomised`` or ``observational``."""
        return self.fitted().learnt_from

    @property
    def diagnostics(self) -> dict[str, float]:
        """Rows, overlap, and the mean uplift by arm and outcome with its error."""
        return self.fitted().diagnostics

    def _transform(self, dataset: DataFrame) -> DataFrame:
        state = self.fitted()
        names = [f"uplift_{name}{end}" for name in state.outcomes for end in ("", "_low", "_high")]
        fields = ", ".join([*(f"`{name}` double" for name in names), f"{CONTRIBUTIONS} map<string,double>"])
        told = _arrow_udf(_scorer(state, names), fields)(F.col("arm"), F.col("covariates").cast("array<double>"))
        columns = {name: F.col(_RESULT)[name] for name in (*names, CONTRIBUTIONS)}
        return dataset.withColumn(_RESULT, told).withColumns(columns).drop(_RESULT)


def make_model(*, rows: UpliftRows, learnt: Learnt, interval_level: float = 0.9) -> UpliftModel:
    """What a fitted learner says of each arm and outcome over no promotion, with intervals.

    Args:
        rows: The decisions it was fitted on.
        learnt: The fitted learner.
        interval_level: Of the intervals, such as 0.9.
    """
    groups = None if isinstance(learnt.full, LinearUplift) else fit_groups(rows=rows, learnt=learnt)
    state = UpliftState(
        learner=learnt.learner,
        arms=rows.arms,
        outcomes=rows.outcomes,
        covariate_names=rows.covariate_names,
        learnt_from=rows.learnt_from,
        half_width=normal_quantile(interval_level),
        standardiser=rows.standardiser,
        mean_design=learnt.mean_design,
        uplift=learnt.full,
        groups=groups,
        diagnostics=dict(rows.diagnostics),
    )
    if isinstance(learnt.full, LinearUplift):
        middle = learnt.mean_design[None]
        means, errors = learnt.full.uplift(middle)[0], learnt.full.errors(middle)[0]
        for place, arm in enumerate(rows.arms[1:]):
            for number, name in enumerate(rows.outcomes):
                state.diagnostics[f"mean_uplift_{name}_{arm}"] = float(means[place, number])
                state.diagnostics[f"mean_uplift_{name}_{arm}_se"] = float(errors[place, number])
    return UpliftModel(state)


def _scorer(state: UpliftState, names: list[str]) -> Callable[[pa.Array, pa.Array], pa.Array]:
    """Make the function that Spark maps over Arrow columns."""

    def score(arms: pa.Array, covariates: pa.Array) -> pa.Array:
        design = state.standardiser.design(matrix_of(pa.chunked_array([covariates]))) if len(arms) else None
        figures = np.full((len(arms), len(state.outcomes), 3), np.nan)
        parts = np.zeros((len(arms), len(state.covariate_names)))
        given = np.array(arms.to_pylist(), dtype=object)
        figures[given == CONTROL] = 0.0
        with threadpool_limits(limits=1, user_api="blas"):
            for place, arm in enumerate(state.arms[1:]):
                rows = np.flatnonzero(given == arm)
                if design is not None and len(rows):
                    figures[rows], parts[rows] = state.score(design[rows], place)
        flat = figures.reshape(len(arms), len(names))
        known = ~np.isnan(flat[:, 0])
        columns: list[Any] = [pa.array(flat[:, place], mask=~known) for place in range(len(names))]
        return pa.StructArray.from_arrays(
            [*columns, _maps(state.covariate_names, parts, known)], [*names, CONTRIBUTIONS]
        )

    return score


def _maps(names: tuple[str, ...], parts: Floats, known: np.ndarray) -> pa.Array:
    """A map from covariate to contribution per row; NULL where nothing is known."""
    n_rows = len(parts)
    kept = np.flatnonzero(known)
    lengths = np.where(known, len(names), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    starts = pa.array(offsets, mask=np.append(~known, False)) if n_rows else pa.array(offsets)
    keys = pa.array(names, pa.string()).take(pa.array(np.tile(np.arange(len(names)), len(kept))))
    return pa.MapArray.from_arrays(starts, keys, pa.array(parts[kept].ravel()))
