import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from promo_spark.kernels.list_traits import category_divergence, category_diversity, self_information

CATEGORIES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=10)


@given(shown=CATEGORIES)
def test_diversity_counts_pairs(shown: list[str]) -> None:
    pairs = [one != other for one, other in combinations(shown, 2)]
    expected = np.mean(pairs) if pairs else math.nan
    assert category_diversity(shown) == pytest.approx(expected, nan_ok=True)


@given(shown=CATEGORIES, bought=CATEGORIES)
def test_divergence_agrees_with_scipy(shown: list[str], bought: list[str]) -> None:
    usual = np.array([Counter(bought)[name] for name in "abcd"]) / len(bought)
    mixed = 0.99 * np.array([Counter(shown)[name] for name in "abcd"]) / len(shown) + 0.01 * usual
    told = category_divergence(shown, dict(zip("abcd", usual.tolist(), strict=True)))
    assert told == pytest.approx(rel_entr(usual, mixed).sum(), abs=1e-12)
    assert -1e-12 <= told <= math.log(100) + 1e-12


def test_edges() -> None:
    assert math.isnan(category_divergence([], {"a": 1.0}))
    assert math.isnan(category_divergence(["a"], {}))
    assert category_divergence(["b"], {"a": 1.0}) == pytest.approx(math.log(100))
    assert self_information(8, 8) == 0.0
    assert self_information(0, 8) == self_information(1, 8) == 3.0
