"""All that a fitted model of uplift holds, and its form as text that Spark's persistence keeps."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass

import numpy as np

from promo_spark.kernels.boosted_trees import Trees
from promo_spark.kernels.effect_models import LinearUplift
from promo_spark.kernels.gram_regression import Floats, Standardiser
from promo_spark.kernels.tree_uplift import GroupIntervals, TreePart, TreeUplift

_PLAIN = ("learner", "learnt_from", "half_width", "diagnostics", "arms", "outcomes", "covariate_names")


@dataclass(frozen=True)
class UpliftState:
    """A fitted model of uplift.

    Attributes:
        learner: Name of the learner.
        arms: The control first.
        outcomes: Names.
        covariate_names: Names.
        learnt_from: ``randomised`` or ``observational``.
        half_width: Of intervals, in standard errors.
        standardiser: From covariates to design.
        mean_design: Mean row of the design, shape (q,).
        uplift: The model.
        groups: Intervals of a model that has none of its own.
        diagnostics: Figures of the fit.
    """

    learner: str
    arms: tuple[str, ...]
    outcomes: tuple[str, ...]
    covariate_names: tuple[str, ...]
    learnt_from: str
    half_width: float
    standardiser: Standardiser
    mean_design: Floats
    uplift: LinearUplift | TreeUplift
    groups: GroupIntervals | None
    diagnostics: dict[str, float]

    def score(self, design: Floats, arm: int) -> tuple[Floats, Floats]:
        """Score customers for one arm.

        Args:
            design: Shape (n_rows, q).
            arm: Place among the treated arms.

        Returns:
            Uplift, low and high, shape (n_rows, n_outcomes, 3); contributions of the covariates to the first outcome's
            uplift over the mean customer's, shape (n_rows, n_covariates): exact for linear models, Shapley values
            for trees.
        """
        if isinstance(self.uplift, LinearUplift):
            own = LinearUplift(self.uplift.coefficients[arm : arm + 1], self.uplift.covariances[arm : arm + 1])
            uplift = own.uplift(design)[:, 0]
            reach = self.half_width * own.errors(design)[:, 0]
            parts = (design - self.mean_design) * own.coefficients[0, 0]
            return np.stack([uplift, uplift - reach, uplift + reach], axis=2), parts[:, 1:] @ self._ownership()
        own_parts = tuple(part for part in self.uplift.parts if part.arm == arm)
        trees = self.uplift._replace(parts=own_parts)
        uplift = trees.uplift(design)[:, arm]
        low, high = (uplift, uplift) if self.groups is None else self.groups.bounds(uplift, arm, self.half_width)
        parts = trees.contributions(design, self.mean_design, 0)
        return np.stack([uplift, low, high], axis=2), parts @ self._ownership()

    def _ownership(self) -> Floats:
        """Which covariate each column of the design belongs to, shape (q - 1, n_covariates)."""
        return np.eye(len(self.covariate_names))[self.standardiser.owners]


def pack_state(state: UpliftState) -> str:
    """The state as text."""
    arrays: dict[str, Floats] = {f"standardiser_{name}": part for name, part in state.standardiser._asdict().items()}
    arrays["mean_design"] = state.mean_design
    head = {name: getattr(state, name) for name in _PLAIN}
    if isinstance(state.uplift, LinearUplift):
        arrays |= {"coefficients": state.uplift.coefficients, "covariances": state.uplift.covariances}
    else:
        head["parts"] = [(part.arm, part.outcome, part.weight, part.extras.tolist()) for part in state.uplift.parts]
        for place, part in enumerate(state.uplift.parts):
            arrays |= {f"trees_{place}_{name}": own for name, own in part.trees._asdict().items()}
    if state.groups is not None:
        arrays |= {f"groups_{name}": own for name, own in state.groups._asdict().items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # its stubs take no mapping of arrays
    return json.dumps({**head, "arrays": base64.b64encode(buffer.getvalue()).decode("ascii")})


def unpack_state(text: str) -> UpliftState:
    """The state again."""
    head = json.loads(text)
    with np.load(io.BytesIO(base64.b64decode(head["arrays"])), allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed.files}
    groups = None
    if "groups_cuts" in arrays:
        groups = GroupIntervals(*(arrays[f"groups_{name}"] for name in GroupIntervals._fields))
    uplift: LinearUplift | TreeUplift
    if "parts" in head:
        parts = tuple(
            TreePart(arm, outcome, weight, np.array(extras, dtype=np.float64), _trees(arrays, place))
            for place, (arm, outcome, weight, extras) in enumerate(head["parts"])
        )
        uplift = TreeUplift(parts, len(head["arms"]) - 1, len(head["outcomes"]))
    else:
        uplift = LinearUplift(arrays["coefficients"], arrays["covariances"])
    return UpliftState(
        learner=head["learner"],
        arms=tuple(head["arms"]),
        outcomes=tuple(head["outcomes"]),
        covariate_names=tuple(head["covariate_names"]),
        learnt_from=head["learnt_from"],
        half_width=head["half_width"],
        diagnostics=head["diagnostics"],
        standardiser=Standardiser(*(arrays[f"standardiser_{name}"] for name in Standardiser._fields)),
        mean_design=arrays["mean_design"],
        uplift=uplift,
        groups=groups,
    )


def _trees(arrays: dict[str, Floats], place: int) -> Trees:
    return Trees(*(arrays[f"trees_{place}_{name}"] for name in Trees._fields))  # type: ignore[arg-type]  # features: ints
