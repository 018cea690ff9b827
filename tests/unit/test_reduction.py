"""Directions of points, against scikit-learn and a generalised eigenproblem."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.decomposition import PCA

from promo_spark.kernels.reduction import discriminant_axes, principal_axes, project


@pytest.fixture
def points() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))


def test_principal_axes_are_those_of_scikit_learn_but_for_sign(points: np.ndarray) -> None:
    axes, expected = principal_axes(points, 3), PCA(3).fit(points).components_.T
    assert np.allclose(np.abs((axes * expected).sum(axis=0)), 1)
    assert (axes[np.abs(axes).argmax(axis=0), range(3)] > 0).all()
    assert np.allclose(project(points, axes), points @ axes)


def test_discriminant_axes_solve_fishers_problem(points: np.ndarray) -> None:
    labels = np.random.default_rng(2).integers(0, 4, 300)
    points = points + 2 * np.random.default_rng(3).normal(size=(4, 5))[labels]
    means = np.array([points[labels == label].mean(axis=0) for label in range(4)])
    within = (points - means[labels]).T @ (points - means[labels])
    between = (means[labels] - points.mean(axis=0)).T @ (means[labels] - points.mean(axis=0))
    expected = eigh(between, within)[1][:, ::-1][:, :3]
    axes = discriminant_axes(points, labels, 5)
    assert axes.shape == (5, 3)
    cosines = (axes * expected).sum(axis=0) / np.linalg.norm(axes, axis=0) / np.linalg.norm(expected, axis=0)
    assert np.allclose(np.abs(cosines), 1)
    assert np.allclose(axes.T @ within @ axes / 300, np.eye(3), atol=1e-8)


def test_labels_show_where_variance_does_not() -> None:
    """The label lies along a direction of little variance: one finds it, the other finds the wide one."""
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 100)
    points = np.column_stack([rng.normal(size=200) * 10, rng.normal(size=200) * 0.1 + labels])
    assert np.abs(principal_axes(points, 1)[:, 0]).argmax() == 0
    assert np.abs(discriminant_axes(points, labels, 1)[:, 0]).argmax() == 1


@pytest.mark.parametrize("labels", [[1, 1, 1], [1, 2, 3]], ids=["one label", "as many as points"])
def test_labels_that_tell_nothing_give_no_direction(labels: list[int]) -> None:
    points = np.arange(6.0).reshape(3, 2)
    axes = discriminant_axes(points, np.array(labels), 2)
    assert axes.shape == (2, 0)
    assert project(points, axes).shape == (3, 0)


def test_a_constant_column_and_points_without_columns() -> None:
    points = np.column_stack([np.arange(10.0), np.ones(10)])
    assert np.allclose(principal_axes(points, 1), [[1.0], [0.0]])
    axes = discriminant_axes(points, np.repeat([0, 1], 5), 2)
    assert np.isfinite(axes).all()
    assert principal_axes(np.empty((4, 0)), 2).shape == (0, 0)


@pytest.mark.parametrize("dimensions", [0, 2])
def test_where_nothing_varies_labels_have_no_directions(dimensions: int) -> None:
    assert discriminant_axes(np.ones((5, dimensions)), np.array([1, 2, 1, 2, 1]), 3).shape == (dimensions, 0)
