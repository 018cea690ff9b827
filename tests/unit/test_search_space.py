import pytest
from hypothesis import given
from hypothesis import strategies as st

from promo_spark.kernels.search_space import draw_points

SPACE = {"rank": (8, 16, 32), "alpha": (0.1, 0.3), "steps": (2, 4)}
SETTLED = {"rank": 16, "alpha": 0.3, "steps": 4}


def test_a_small_grid_is_tried_whole() -> None:
    points = draw_points(SPACE, SETTLED, 50, seed=1)
    assert len(points) == 11
    assert points[:3] == (
        {"rank": 8, "alpha": 0.1, "steps": 2},
        {"rank": 8, "alpha": 0.1, "steps": 4},
        {"rank": 8, "alpha": 0.3, "steps": 2},
    )
    assert SETTLED not in points


def test_settled_settings_outside_the_grid_take_no_place() -> None:
    assert len(draw_points(SPACE, {**SETTLED, "rank": 64}, 50, seed=1)) == 12


@given(count=st.integers(0, 14), seed=st.integers(0, 99))
def test_points_are_of_the_grid_different_and_as_many_as_wanted(count: int, seed: int) -> None:
    points = draw_points(SPACE, SETTLED, count, seed)
    assert len(points) == min(count, 11)
    assert len({tuple(point.values()) for point in points}) == len(points)
    assert all(point[name] in SPACE[name] for point in points for name in SPACE)
    assert SETTLED not in points


def test_more_trials_begin_with_the_same_ones_and_another_seed_with_others() -> None:
    large = {name: tuple(range(1000)) for name in "abcdef"}
    few, many = (draw_points(large, {}, count, seed=7) for count in (5, 20))
    assert many[:5] == few
    assert draw_points(large, {}, 5, seed=8) != few


@pytest.mark.parametrize("value", [8, 16])
def test_values_given_twice_count_once(value: int) -> None:
    points = draw_points({"rank": (8, 8, 16)}, {"rank": value}, 5, seed=1)
    assert points == ({"rank": 24 - value},)
