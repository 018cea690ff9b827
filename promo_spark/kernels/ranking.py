"""How good one customer's ranked list is. Relevance is binary; average over customers outside.

A list holds each id once, best first. A list shorter than k counts as if filled with misses. With
nothing relevant no measure is defined and the result is NaN: leave such customers out of the average, and
count them.
"""

import math
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet


def ndcg_at_k(ranked: Sequence[Hashable], relevant: AbstractSet[Hashable], k: int) -> float:
    """Discounted gain of the hits among the first k, over that of the best possible list.

    sum over hits at rank i <= k of 1 / log2(i + 1), over the same sum for ranks 1 to min(k, n_relevant).
    Complexity: O(k). Source: Jarvelin and Kekalainen 2002, log2 discount from rank 1, gains 0 and 1.

    Args:
        ranked: Ids, best first.
        relevant: Ids that are relevant.
        k: Length of the list that counts.

    Returns:
        0 to 1, or NaN with nothing relevant.

    >>> ndcg_at_k(["a", "b", "c"], {"c"}, 3)  # 1 / log2(4)
    0.5
    """
    if not relevant:
        return math.nan
    gain = sum(1.0 / math.log2(rank + 1) for rank in _hit_ranks(ranked, relevant, k))
    return gain / sum(1.0 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))


def recall_at_k(ranked: Sequence[Hashable], relevant: AbstractSet[Hashable], k: int) -> float:
    """Share of the relevant ids that are among the first k: n_hits / n_relevant, not over min(k, n_relevant).

    Complexity: O(k).

    Args:
        ranked: Ids, best first.
        relevant: Ids that are relevant.
        k: Length of the list that counts.

    Returns:
        0 to 1, or NaN with nothing relevant.

    >>> recall_at_k(["a", "b", "c"], {"b", "x"}, 2)
    0.5
    """
    return len(_hit_ranks(ranked, relevant, k)) / len(relevant) if relevant else math.nan


def average_precision_at_k(ranked: Sequence[Hashable], relevant: AbstractSet[Hashable], k: int) -> float:
    """Precision at each hit among the first k, summed and divided by min(k, n_relevant).

    sum over hits at rank i <= k of (hits in the first i) / i, over min(k, n_relevant): the variant in which a
    list of k hits scores 1 however many ids are relevant. Its mean over customers is MAP@k. Complexity: O(k).

    Args:
        ranked: Ids, best first.
        relevant: Ids that are relevant.
        k: Length of the list that counts.

    Returns:
        0 to 1, or NaN with nothing relevant.

    >>> average_precision_at_k(["a", "b", "c", "d"], {"a", "d"}, 4)  # (1/1 + 2/4) / 2
    0.75
    """
    if not relevant:
        return math.nan
    ranks = _hit_ranks(ranked, relevant, k)
    return sum(hits / rank for hits, rank in enumerate(ranks, start=1)) / min(k, len(relevant))


def reciprocal_rank_at_k(ranked: Sequence[Hashable], relevant: AbstractSet[Hashable], k: int) -> float:
    """One over the rank of the first hit among the first k, 0 without a hit. Its mean over customers is MRR@k.

    Complexity: O(k). Source: Voorhees 1999, TREC-8 question answering.

    Args:
        ranked: Ids, best first.
        relevant: Ids that are relevant.
        k: Length of the list that counts.

    Returns:
        0 to 1, or NaN with nothing relevant.

    >>> reciprocal_rank_at_k(["a", "b", "c"], {"b", "c"}, 3)
    0.5
    """
    if not relevant:
        return math.nan
    return next((1.0 / rank for rank in _hit_ranks(ranked, relevant, k)), 0.0)


def hit_at_k(ranked: Sequence[Hashable], relevant: AbstractSet[Hashable], k: int) -> float:
    """1 if any of the first k is relevant, else 0. Complexity: O(k).

    Args:
        ranked: Ids, best first.
        relevant: Ids that are relevant.
        k: Length of the list that counts.

    Returns:
        0 or 1, or NaN with nothing relevant.

    >>> hit_at_k(["a", "b"], {"b"}, 1), hit_at_k(["a", "b"], {"b"}, 2)
    (0.0, 1.0)
    """
    return float(bool(_hit_ranks(ranked, relevant, k))) if relevant else math.nan


def _hit_ranks(ranked: Sequence[Hashable], relevant: AbstractSet[Hashable], k: int) -> list[int]:
    """Ranks, from 1, of the relevant ids among the first k."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return [rank for rank, item in enumerate(ranked[:k], start=1) if item in relevant]
