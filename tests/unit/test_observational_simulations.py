"""A smoke share of `make simulate`: every estimator of campaigns and policies holds in few replications too."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulations import observational, off_policy
from benchmarks.simulations.figures import Study

STUDIES = {**observational.ESTIMATORS, **off_policy.ESTIMATORS}
FEW = {"campaign": 6, "doubly_robust_att": 12, **dict.fromkeys(off_policy.ESTIMATORS, 10)}


@pytest.mark.parametrize(("name", "study"), STUDIES.items(), ids=list(STUDIES))
def test_intervals_and_tests_hold(name: str, study: Study) -> None:
    for figure in study(np.random.default_rng(5), FEW.get(name, 40)):
        assert figure.is_passed, (figure, figure.bounds)


def test_an_estimator_that_does_not_hold_is_caught() -> None:
    """A plain difference in a world where those who grow are targeted."""
    draw = np.random.default_rng(6)
    figures = observational._held(
        observational._difference, lambda effect: observational._confounded(draw, effect), 40, "confounded"
    )
    assert not any(figure.is_passed for figure in figures)
