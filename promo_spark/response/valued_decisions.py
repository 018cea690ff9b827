"""Past decisions with what each arm was expected to bring, and what a personalised policy would have done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from threadpoolctl import threadpool_limits

from promo_spark.contracts.arrow_matrices import lists_of, matrix_of
from promo_spark.kernels.effect_models import predict_linear
from promo_spark.kernels.gram_regression import Floats, Standardiser
from promo_spark.kernels.policy_rules import OBJECTIVE, PolicyRule
from promo_spark.response.safe_policy import learn_rules
from promo_spark.response.uplift_learners import learn_uplift, prepare_learning
from promo_spark.response.uplift_rows import ARM, COVARIATES, FOLD, OUTCOMES, PROPENSITY, UpliftRows, prepare_rows

_FIELDS = (
    "customer_id string, decision_id string, arm_index int, propensity double, reward double, "
    "expected array<double>, personalised int"
)


@dataclass(frozen=True)
class ValuedDecisions:
    """Decisions as policies are valued on them.

    Attributes:
        frame: customer_id, decision_id, arm_index, propensity, reward (the objective less contact cost), expected (the
            same by arm, by models that have not seen the customer), personalised (index of the arm that a policy which
            has not seen the customer chooses). Computed from what is persisted: call ``release``.
        arms: Names, none first.
        learnt_from: randomised or observational.
        trimmed_rate: Share of the decisions left out because some arm all but never falls to such a customer.
        rows: What is persisted.
    """

    frame: DataFrame
    arms: tuple[str, ...]
    learnt_from: str
    trimmed_rate: float
    rows: UpliftRows

    def release(self) -> None:
        """Let go of what is persisted."""
        self.rows.release()


def value_decisions(
    *,
    rows: DataFrame,
    objective: str,
    cost: str,
    contact_costs: dict[str, float],
    covariate_names: tuple[str, ...],
    learner: str,
    folds: int,
    budget_per_customer: float | None,
    shrink: bool,
    propensity_floor: float,
    ridge: float,
    seed: int,
) -> ValuedDecisions:
    """Estimate, out of fold, what each arm would have brought, and what the personalised policy would have done.

    Args:
        rows: response.decisions of the arms that may be given.
        objective: Column of what a policy earns, before contact cost.
        cost: Column of what it costs.
        contact_costs: Cost of telling one customer, by arm.
        covariate_names: One per covariate.
        learner: Such as dr_linear.
        folds: Parts of the customers.
        budget_per_customer: Expected cost per decision that the personalised policy may not exceed.
        shrink: See ``compare_policies``.
        propensity_floor: See ``prepare_rows``.
        ridge: Least penalty of linear models, in rows.
        seed: Of the folds and of trees.

    Raises:
        ValueError: The rows are at fault: too few of an arm, a propensity that cannot be, no overlap.
    """
    prepared = prepare_rows(
        rows=rows,
        outcomes=(objective, cost),
        covariate_names=covariate_names,
        folds=folds,
        propensity_floor=propensity_floor,
        seed=seed,
    )
    try:
        learnt = learn_uplift(
            prepared=prepare_learning(rows=prepared, ridge=ridge, depths=None), learner=learner, seed=seed
        )
        rules = learn_rules(prepared, learnt, contact_costs, budget_per_customer, shrink=shrink)
        contact = np.array([contact_costs.get(arm, 0.0) if place else 0.0 for place, arm in enumerate(prepared.arms)])
        columns = ("customer_id", "decision_id", ARM, FOLD, PROPENSITY, COVARIATES, OUTCOMES)
        told = _teller(prepared.standardiser, learnt.levels, rules, contact)
        return ValuedDecisions(
            frame=prepared.frame.select(*columns).mapInArrow(told, _FIELDS),
            arms=prepared.arms,
            learnt_from=prepared.learnt_from,
            trimmed_rate=prepared.diagnostics.get("trimmed_rate", 0.0),
            rows=prepared,
        )
    except BaseException:
        prepared.release()
        raise


def _teller(
    standardiser: Standardiser, levels: Floats, rules: Sequence[PolicyRule], contact: Floats
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that Spark maps over Arrow batches of decisions."""

    def tell(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            for batch in batches:
                if batch.num_rows:
                    yield _told(pa.Table.from_batches([batch]), standardiser, levels, rules, contact)

    return tell


def _told(
    rows: pa.Table, standardiser: Standardiser, levels: Floats, rules: Sequence[PolicyRule], contact: Floats
) -> pa.RecordBatch:
    design = standardiser.design(matrix_of(rows.column(COVARIATES)))
    outcomes, folds = matrix_of(rows.column(OUTCOMES)), rows.column(FOLD).to_numpy()
    arms = rows.column(ARM).to_numpy()
    expected = np.empty((len(arms), len(contact)))
    chosen = np.zeros(len(arms), dtype=np.int64)
    for fold in np.unique(folds).tolist():
        own = folds == fold
        expected[own] = predict_linear(levels[fold], design[own])[..., OBJECTIVE] - contact
        chosen[own] = rules[fold].choose(design[own])
    return pa.RecordBatch.from_arrays(
        [
            *(rows.column(name).combine_chunks() for name in ("customer_id", "decision_id", ARM, PROPENSITY)),
            pa.array(outcomes[:, OBJECTIVE] - contact[arms], pa.float64()),
            lists_of(expected),
            pa.array(chosen, pa.int32()),
        ],
        names=["customer_id", "decision_id", "arm_index", "propensity", "reward", "expected", "personalised"],
    )
