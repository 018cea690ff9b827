"""Which settings to try: the whole grid where it is small, else points drawn from it without repetition.

Source: Bergstra and Bengio 2012, Random search for hyper-parameter optimization: where few of the settings
matter, drawn points try more values of those few than a coarser grid of as many points.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import TypeVar

import numpy as np

Value = TypeVar("Value")


def draw_points(
    space: Mapping[str, Sequence[Value]], settled: Mapping[str, Value], count: int, seed: int
) -> tuple[dict[str, Value], ...]:
    """Draw different points of a grid, none of them the settled one.

    Args:
        space: The values of each setting; one given twice counts once.
        settled: The settings in force, which are tried anyway.
        count: Most points wanted.
        seed: Of the draw; more points drawn by the same seed begin with the same ones.

    Returns:
        At most ``count`` points in the order to try them; all there are, in the order of the grid, where those are
        no more.

    Complexity: O(count), whatever the size of the grid, unless all of it is wanted.

    >>> draw_points({"rank": [8, 16], "step": [0.1]}, {"rank": 8, "step": 0.1}, 5, seed=1)
    ({'rank': 16, 'step': 0.1},)
    """
    values = {name: tuple(dict.fromkeys(offered)) for name, offered in space.items()}
    size = prod(len(offered) for offered in values.values())
    # One more than wanted, because the settled point may be among them.
    places = range(size) if size <= count + 1 else _drawn(size, seed)
    points = (_point(place, values) for place in places)
    return tuple(islice((point for point in points if point != dict(settled)), count))


def _drawn(size: int, seed: int) -> Iterator[int]:
    """Different numbers below ``size``, without end before all were given."""
    random, given = np.random.default_rng(seed), set[int]()
    while len(given) < size:
        place = int(random.integers(size))
        if place not in given:
            given.add(place)
            yield place


def _point(place: int, values: Mapping[str, Sequence[Value]]) -> dict[str, Value]:
    """The grid's point of that number; the last setting changes first."""
    point: dict[str, Value] = {}
    for name in reversed(list(values)):
        place, own = divmod(place, len(values[name]))
        point[name] = values[name][own]
    return {name: point[name] for name in values}
