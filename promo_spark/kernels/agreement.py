"""Agreement between two ways of grouping the same things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import comb

import numpy as np
from scipy.optimize import linear_sum_assignment


def adjusted_rand_index(cells: Iterable[tuple[int, int, int]]) -> float:
    """Adjusted Rand index from the counts of a contingency table.

    ARI = (Index - Expected) / (Max - Expected) over pairs of items: 1 for equal groupings, about 0 for unrelated
    ones. Taking counts instead of labels keeps its cost independent of the number of items.

    Args:
        cells: ``(label in one, label in the other, count)``, each pair of labels at most once.

    Returns:
        The index; 1.0 where neither grouping separates anything.

    Complexity: O(cells). Source: Hubert and Arabie 1985, equation 5.

    >>> adjusted_rand_index([(0, 1, 5), (1, 0, 5)])
    1.0
    >>> round(adjusted_rand_index([(0, 0, 2), (0, 1, 1), (1, 0, 1), (1, 1, 2)]), 4)
    -0.1111
    """
    rows: Counter[int] = Counter()
    columns: Counter[int] = Counter()
    index = 0
    for row, column, count in cells:
        rows[row] += count
        columns[column] += count
        index += comb(count, 2)
    pairs = comb(sum(rows.values()), 2)
    by_row = sum(comb(count, 2) for count in rows.values())
    by_column = sum(comb(count, 2) for count in columns.values())
    expected = by_row * by_column / pairs if pairs else 0.0
    highest = (by_row + by_column) / 2
    return 1.0 if highest == expected else (index - expected) / (highest - expected)


def match_groups(cells: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """Which group of a later grouping carries on which of an earlier one.

    Pairs are one to one, and together keep as many items as any such pairs can; groups without a common item are
    no pair. Among equally good pairings it is settled by the labels.

    Args:
        cells: ``(label in the earlier, label in the later, count)``, each pair of labels at most once.

    Returns:
        Later label by earlier label.

    Complexity: O(groups³). Source: Kuhn 1955, by ``scipy.optimize.linear_sum_assignment``.

    >>> match_groups([(0, 0, 5), (0, 1, 9), (1, 1, 8), (1, 0, 1)])
    {0: 0, 1: 1}
    """
    counts = {(earlier, later): count for earlier, later, count in cells}
    rows = sorted({earlier for earlier, _ in counts})
    columns = sorted({later for _, later in counts})
    table = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for (earlier, later), count in counts.items():
        table[rows.index(earlier), columns.index(later)] = count
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    return {rows[row]: columns[column] for row, column in pairs if table[row, column] > 0}
