"""Estimators of randomised experiments."""

from __future__ import annotations

from benchmarks.simulations.figures import Study

ESTIMATORS: dict[str, Study] = {}
