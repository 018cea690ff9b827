"""Products worth a second look for each customer, and what is known of each pair: for a ranker to learn from.

Candidates are the customer's own most bought products, and new ones that are popular, that neighbours are used to,
or that neighbours bought lately.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from promo_spark.kernels.habits import HALF_LIVES, PRODUCT_FEATURES, RECENT, SEASON, Catalogue, Habits
from promo_spark.kernels.neighbours import Neighbourhood, Pool, weigh_neighbours
from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.topk import select_top_k

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OWN, POPULAR, USUAL, LATELY, LATELY_IN_ALL = 100, 150, 80, 100, 40
"""Candidates of each kind; the last are those of neighbours' latest that also compete with repeats."""
_CUSTOMERS_AT_ONCE = 256
_LEAST_SPREAD = 3.0
"""In days: nobody buys more regularly than that."""
_OWN_FEATURES = (
    *(f"decayed_{life}d" for life in HALF_LIVES),
    "day_count", "last_days", "first_days", "gap_days", "last_to_gap", "last_to_usual_gap", "rate_28d", "rate_112d",
    "gap_spread", "overdue",
)  # fmt: skip
_CUSTOMER_FEATURES = ("trips", "idle_days", "newness_rate")
_NEIGHBOUR_FEATURES = (
    "habit_and_neighbours", "neighbours", "neighbours_28d", "neighbours_28d_place", "neighbours_28d_lift",
)  # fmt: skip
_GROUP_FEATURES = ("habit_112d", "habit_28d", "last_days", "products", "share", "product_share", "lift")
FEATURES = (
    *_OWN_FEATURES,
    *_CUSTOMER_FEATURES,
    *_NEIGHBOUR_FEATURES,
    *PRODUCT_FEATURES,
    *(f"{group}_{name}" for group in ("category", "subcategory") for name in _GROUP_FEATURES),
)
"""Names of the columns of ``Candidates.features``; NaN stands for what is not known."""

LEARNT_FROM = {
    "all": tuple(
        FEATURES.index(name)
        for name in (
            *_OWN_FEATURES, "trips", "idle_days", "habit_and_neighbours", "neighbours", "neighbours_28d", "buyers_28d",
            "retention_rate", "repeat_rate", "usual_gap_days", "trend_7d", "trend_28d",
            "discount_rate_7d", "discount_rate_14d", "discount_rate",
        )
    ),
    "novel": tuple(
        place for place, name in enumerate(FEATURES) if name not in (*_OWN_FEATURES, "habit_and_neighbours")
    ),
}  # fmt: skip
"""Columns each slot's ranker looks at."""


class Candidates(NamedTuple):
    """Pairs of customer and product, by customer, then by product.

    Attributes:
        customers: Row of the customer.
        products: The product.
        is_repeat: Bought before the cut.
        in_all: Competes in the slot all; all that are not repeats compete in the slot novel.
        features: Shape (n, len(FEATURES)).
    """

    customers: Ints
    products: Ints
    is_repeat: Bools
    in_all: Bools
    features: Floats

    def competes(self, slot: str) -> Bools:
        """Whether each competes in a slot."""
        return self.in_all if slot == "all" else ~self.is_repeat


def find_candidates(
    habits: Habits, places: Ints, catalogue: Catalogue, pool: Pool, neighbourhood: Neighbourhood
) -> Iterator[Candidates]:
    """Find candidates, a few customers at a time.

    Args:
        habits: Of the customers at the cut.
        places: Their own places in the pool, ``NONE`` outside it.
        catalogue: Products at the cut.
        pool: Reference customers at the cut.
        neighbourhood: How neighbours are chosen and weighed.

    Yields:
        Candidates of a tile of customers; ``customers`` count over all. Customers without habits have none.
    """
    n_customers = len(habits.offsets) - 1
    for first in range(0, n_customers, _CUSTOMERS_AT_ONCE):
        last = min(first + _CUSTOMERS_AT_ONCE, n_customers)
        tile = _rows_of(habits, first, last)
        found = _candidates_of_tile(tile, places[first:last], catalogue, pool, neighbourhood)
        yield found._replace(customers=found.customers + first)


def _rows_of(habits: Habits, first: int, last: int) -> Habits:
    begin, end = habits.offsets[first], habits.offsets[last]
    entries = {
        name: getattr(habits, name)[begin:end]
        for name in ("products", "decayed", "day_count", "last_days", "first_days", "gap_squares", "was_earlier")
    }
    return Habits(
        offsets=habits.offsets[first : last + 1] - begin,
        trips=habits.trips[first:last],
        idle_days=habits.idle_days[first:last],
        **entries,
    )


class _Scores(NamedTuple):
    """First-stage scores of a tile, shape (n_customers, n_products); -inf for what was bought, in the last three."""

    habit: Floats
    mixed: Floats
    neighbours: Floats
    neighbours_lately: Floats
    popular: Floats
    usual: Floats
    lately: Floats


def _candidates_of_tile(
    habits: Habits, places: Ints, catalogue: Catalogue, pool: Pool, neighbourhood: Neighbourhood
) -> Candidates:
    scores = _first_stages(habits, places, catalogue, pool, neighbourhood)
    n_products = len(catalogue.is_open)
    own = select_top_k(scores.habit, OWN).items
    lately = select_top_k(scores.lately, LATELY).items
    novel = [select_top_k(scores.popular, POPULAR).items, select_top_k(scores.usual, USUAL).items, lately]
    rows = np.arange(len(own))[:, None] * np.int64(n_products)
    keys = [(rows + items)[items != NONE] for items in (own, *novel)]
    kept = np.unique(np.concatenate(keys))
    customers, products = np.divmod(kept, n_products)
    first = lately[:, :LATELY_IN_ALL]
    in_all = np.isin(kept, np.concatenate([keys[0], (rows + first)[first != NONE]]))
    features = _features(habits, catalogue, scores, customers, products)
    return Candidates(customers, products, np.isin(kept, keys[0]), in_all, features)


def _first_stages(
    habits: Habits, places: Ints, catalogue: Catalogue, pool: Pool, neighbourhood: Neighbourhood
) -> _Scores:
    n_products = len(catalogue.is_open)
    bought = habits.customers, habits.products
    open_entries = catalogue.is_open[habits.products]
    own = habits.decayed[:, HALF_LIVES.index(112)]
    weights = weigh_neighbours(habits.matrix(np.where(open_entries, own, 0), n_products), places, pool, neighbourhood)
    usual, lately = ((weights @ side).toarray() for side in (pool.habits, pool.recent))
    habit = np.full(usual.shape, -np.inf, dtype=np.float32)
    lively = own + habits.decayed[:, 1] + np.float32(0.3) * habits.decayed[:, 0]
    habit[bought] = np.where(open_entries, lively, -np.inf)
    has_past = np.diff(habits.offsets) > 0
    popular = np.where(has_past[:, None], catalogue.feature("buyers_28d"), np.float32(-np.inf))
    mixed = np.float32(neighbourhood.weight) * usual
    mixed[bought] += own
    masked = []
    for scores in (popular, usual, lately):
        novel = np.where((scores > 0) & catalogue.is_open, scores, np.float32(-np.inf))
        novel[bought] = -np.inf
        masked.append(novel)
    return _Scores(habit, mixed, usual, lately, *masked)


def _features(habits: Habits, catalogue: Catalogue, scores: _Scores, customers: Ints, products: Ints) -> Floats:
    pairs = customers, products
    product = catalogue.features[products]
    recent = scores.neighbours_lately[pairs]
    share = catalogue.feature("buyers_28d")[products] / max(1, len(scores.habit))
    columns = [
        _own_features(habits, catalogue, customers, products),
        _customer_features(habits)[customers],
        np.column_stack([scores.mixed[pairs], scores.neighbours[pairs], recent]),
        np.column_stack([_places(customers, recent), recent / (share + 1e-3)]),
        product,
        *(_group_features(habits, catalogue, numbers, customers, products) for numbers in catalogue.groups),
    ]
    features = np.concatenate(columns, axis=1).astype(np.float32)
    features[~np.isfinite(features)] = np.nan
    return features


def _own_features(habits: Habits, catalogue: Catalogue, customers: Ints, products: Ints) -> Floats:
    """What the customer did with the product; unknown for what is new."""
    n_products = len(catalogue.is_open)
    keys, asked = habits.customers * n_products + habits.products, customers * n_products + products
    if len(keys) == 0:
        return np.full((len(asked), len(_OWN_FEATURES)), np.nan, dtype=np.float32)
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (habits.first_days - habits.last_days) / (habits.day_count - 1)
        spread = np.sqrt(np.maximum(habits.gap_squares / (habits.day_count - 1) - gap**2, 0))
        trips = np.maximum(habits.trips[habits.customers], 0.05)
        known = np.column_stack(
            [
                habits.decayed,
                habits.day_count,
                habits.last_days,
                habits.first_days,
                gap,
                habits.last_days / gap,
                habits.last_days / catalogue.feature("usual_gap_days")[habits.products],
                habits.decayed[:, HALF_LIVES.index(28)] / trips,
                habits.decayed[:, HALF_LIVES.index(112)] / trips,
                spread,
                (habits.last_days - gap) / np.maximum(spread, _LEAST_SPREAD),
            ]
        )
    return np.where((keys[places] == asked)[:, None], known[places], np.nan).astype(np.float32)


def _customer_features(habits: Habits) -> Floats:
    n_customers = len(habits.offsets) - 1
    season = habits.last_days <= SEASON
    new = np.bincount(habits.customers[season & (habits.first_days <= SEASON)], minlength=n_customers)
    newness = new / np.maximum(np.bincount(habits.customers[season], minlength=n_customers), 1)
    return np.column_stack([habits.trips, habits.idle_days, newness]).astype(np.float32)


def _places(customers: Ints, scores: Floats) -> Ints:
    """Place of each candidate among its customer's by score, from 0; equal scores in the order given.

    >>> _places(np.array([0, 0, 0, 1]), np.array([1, 3, 3, 2], dtype=np.float32)).tolist()
    [2, 0, 1, 0]
    """
    order = np.lexsort((-scores, customers))
    ordered = customers[order]
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return places


def _group_features(habits: Habits, catalogue: Catalogue, groups: Ints, customers: Ints, products: Ints) -> Floats:
    """What the customer did with the product's category."""
    n_groups, n_customers = int(groups.max(initial=0)) + 1, len(habits.offsets) - 1
    cells = habits.customers * n_groups + groups[habits.products]
    size = n_groups * n_customers
    long, short = (np.bincount(cells, weights=habits.decayed[:, place], minlength=size) for place in (3, 1))
    last = np.full(size, np.nan)
    np.fmin.at(last, cells, habits.last_days)
    counts = np.bincount(cells, minlength=size)
    of_customer = np.bincount(habits.customers, weights=habits.decayed[:, 3], minlength=n_customers)
    recent = catalogue.feature("buyers_28d").astype(np.float64)
    of_group = np.bincount(groups, weights=recent, minlength=n_groups)
    asked, own = customers * n_groups + groups[products], groups[products]
    share = long[asked] / np.maximum(of_customer[customers], 1e-6)
    lift = share / np.maximum(of_group[own] / max(recent.sum(), 1), 1e-6)
    product_share = recent[products] / np.maximum(of_group[own], 1)
    return np.column_stack([long[asked], short[asked], last[asked], counts[asked], share, product_share, lift]).astype(
        np.float32
    )


def pool_matrices(habits: Habits, catalogue: Catalogue) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """What ``make_pool`` takes: habits of half-life 112 days and what was bought in the last 28, of open products."""
    n_products = len(catalogue.is_open)
    is_open = catalogue.is_open[habits.products]
    usual = habits.matrix(np.where(is_open, habits.decayed[:, HALF_LIVES.index(112)], 0), n_products)
    lately = habits.matrix((is_open & (habits.last_days <= RECENT)).astype(np.float32), n_products)
    for matrix in (usual, lately):
        matrix.eliminate_zeros()
    return usual, lately
