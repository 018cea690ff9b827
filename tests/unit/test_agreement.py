"""The adjusted Rand index against scikit-learn's."""

from collections import Counter
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from promo_spark.kernels.agreement import adjusted_rand_index, match_groups


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=60))
def test_agrees_with_scikit_learn(labels: list[tuple[int, int]]) -> None:
    cells = [(a, b, count) for (a, b), count in Counter(labels).items()]
    expected = adjusted_rand_score([a for a, _ in labels], [b for _, b in labels])
    assert abs(adjusted_rand_index(cells) - expected) < 1e-12


def test_one_thing_agrees_with_itself() -> None:
    assert adjusted_rand_index([(0, 0, 1)]) == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40))
def test_matched_groups_keep_as_many_as_any_pairs_can(labels: list[tuple[int, int]]) -> None:
    counts = Counter(labels)
    matched = match_groups((a, b, count) for (a, b), count in counts.items())
    assert len(set(matched.values())) == len(matched)
    assert all(counts[pair] for pair in matched.items())
    best = max(sum(counts[a, b] for a, b in enumerate(order)) for order in permutations(range(5), 4))
    assert sum(counts[pair] for pair in matched.items()) == best


def test_renumbered_groups_are_found_again() -> None:
    assert match_groups([(0, 2, 10), (1, 0, 7), (2, 1, 5), (0, 0, 3)]) == {0: 2, 1: 0, 2: 1}
    assert match_groups([]) == {}
