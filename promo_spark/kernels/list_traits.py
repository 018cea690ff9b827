"""What a list is like whether or not its products were bought: known to few, mixed, like the customer's habits."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

_SMOOTHING = 0.01
"""Share of the usual in what is shown, so that a category nobody was shown costs much, not endlessly much."""


def self_information(buyers: int, customers: int) -> float:
    """How surprising a product is: -log2 of the share of customers who bought it; as with one buyer where none did.

    The mean over a list is its novelty. Source: Zhou et al. 2010, "Solving the apparent diversity-accuracy
    dilemma of recommender systems"; Castells et al. 2015.

    Args:
        buyers: Customers who bought the product.
        customers: All customers who bought anything, at least 1.

    Returns:
        Bits, from 0: everybody bought it.

    >>> self_information(25, 100)
    2.0
    """
    return math.log2(customers / max(buyers, 1))


def category_diversity(categories: Sequence[str]) -> float:
    """Share of a list's pairs of products that are of different categories.

    One less the intra-list similarity of Ziegler et al. 2005, with 1 for a pair of one category and 0 for any other.
    Complexity: O(n).

    Args:
        categories: One per product of the list.

    Returns:
        0 (all alike) to 1 (no two alike), or NaN with fewer than two products.

    >>> round(category_diversity(["milk", "milk", "beer"]), 3)  # two of three pairs
    0.667
    """
    pairs = math.comb(len(categories), 2)
    alike = sum(math.comb(count, 2) for count in Counter(categories).values())
    return 1 - alike / pairs if pairs else math.nan


def category_divergence(shown: Sequence[str], usual: Mapping[str, float]) -> float:
    """How far a list's categories are from those the customer usually buys: lower is better calibrated.

    Kullback-Leibler divergence of the shown mix, with 1 % of the usual one mixed in, from the usual mix:
    sum of p log(p / q). Complexity: O(n_shown + n_usual). Source: Steck 2018, "Calibrated Recommendations", eq. 4-5.

    Args:
        shown: Category of each product of the list.
        usual: Share of each category in what the customer bought before; they add up to 1.

    Returns:
        Nats, from 0 (the same mix) to log 100 (nothing in common); NaN where either is empty.

    >>> round(category_divergence(["milk", "beer"], {"milk": 0.5, "beer": 0.5}), 12)
    0.0
    """
    if not shown or not usual:
        return math.nan
    counts = Counter(shown)
    mixed = {name: (1 - _SMOOTHING) * counts[name] / len(shown) + _SMOOTHING * p for name, p in usual.items()}
    return sum(p * math.log(p / mixed[name]) for name, p in usual.items() if p > 0)
