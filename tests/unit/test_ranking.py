import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score

from promo_spark.kernels.ranking import (
    average_precision_at_k,
    hit_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

MEASURES = [ndcg_at_k, recall_at_k, average_precision_at_k, hit_at_k, reciprocal_rank_at_k]
RANKED = st.permutations(range(8))
RELEVANT = st.sets(st.integers(0, 7), min_size=1)
DEPTH = st.integers(1, 8)


@given(ranked=RANKED, relevant=RELEVANT, k=DEPTH)
def test_ndcg_agrees_with_sklearn(ranked: list[int], relevant: set[int], k: int) -> None:
    truth = [[float(item in relevant) for item in ranked]]
    scores = [list(range(len(ranked), 0, -1))]
    assert ndcg_at_k(ranked, relevant, k) == pytest.approx(ndcg_score(truth, scores, k=k))


@given(ranked=RANKED, relevant=RELEVANT)
def test_average_precision_of_a_full_list_agrees_with_sklearn(ranked: list[int], relevant: set[int]) -> None:
    truth = np.array([item in relevant for item in ranked])
    expected = average_precision_score(truth, -np.arange(len(ranked)))
    assert average_precision_at_k(ranked, relevant, len(ranked)) == pytest.approx(expected)


@given(ranked=RANKED, relevant=RELEVANT, k=DEPTH)
def test_cut_off_measures_agree_with_their_definitions(ranked: list[int], relevant: set[int], k: int) -> None:
    found = set(ranked[:k]) & relevant
    precisions = [len(set(ranked[:i]) & relevant) / i for i in range(1, k + 1) if ranked[i - 1] in relevant]
    assert recall_at_k(ranked, relevant, k) == len(found) / len(relevant)
    assert hit_at_k(ranked, relevant, k) == (1.0 if found else 0.0)
    expected = sum(precisions) / min(k, len(relevant))
    assert average_precision_at_k(ranked, relevant, k) == pytest.approx(expected)


@given(ranked=RANKED, wanted=st.integers(0, 7))
def test_reciprocal_rank_of_one_relevant_id_agrees_with_sklearn(ranked: list[int], wanted: int) -> None:
    truth = [[item == wanted for item in ranked]]
    expected = label_ranking_average_precision_score(truth, [list(range(len(ranked), 0, -1))])
    assert reciprocal_rank_at_k(ranked, {wanted}, len(ranked)) == pytest.approx(expected)


@pytest.mark.parametrize("measure", MEASURES)
@given(ranked=RANKED, relevant=RELEVANT, k=DEPTH)
def test_moving_a_relevant_id_up_never_lowers_a_measure(
    measure: Callable[..., float], ranked: list[int], relevant: set[int], k: int
) -> None:
    best_first = sorted(ranked, key=lambda item: item not in relevant)
    swapped = list(ranked)
    for i in range(len(swapped) - 1):
        if swapped[i] not in relevant and swapped[i + 1] in relevant:
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
            break
    assert measure(swapped, relevant, k) >= measure(ranked, relevant, k) - 1e-12
    assert measure(best_first, relevant, k) == pytest.approx(
        1.0 if measure is not recall_at_k else min(1.0, k / len(relevant))
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_nothing_relevant_has_no_value_and_an_empty_list_is_worth_nothing(
    measure: Callable[..., float],
) -> None:
    assert math.isnan(measure(["a"], set(), 3))
    assert measure([], {"a"}, 3) == 0.0


@pytest.mark.parametrize("measure", MEASURES)
def test_list_of_no_length_is_refused(measure: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        measure(["a"], {"a"}, 0)
