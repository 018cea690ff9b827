"""The adjusted Rand index against scikit-learn's."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from promo_spark.kernels.agreement import adjusted_rand_index


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=60))
def test_agrees_with_scikit_learn(labels: list[tuple[int, int]]) -> None:
    cells = [(a, b, count) for (a, b), count in Counter(labels).items()]
    expected = adjusted_rand_score([a for a, _ in labels], [b for _, b in labels])
    assert abs(adjusted_rand_index(cells) - expected) < 1e-12


def test_one_thing_agrees_with_itself() -> None:
    assert adjusted_rand_index([(0, 0, 1)]) == 1.0
