"""A second stage: what the first models propose, ranked by what customers bought in earlier weeks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from sklearn.ensemble import HistGradientBoostingClassifier

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.candidates import Candidates, find_candidates
from promo_spark.kernels.habits import habits_before
from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.topk import TopK
from promo_spark.recommend.habits import blocks_of
from promo_spark.recommend.neighbours import places_of
from promo_spark.recommend.packed_lists import LIST_COLUMNS, attribute_lists, pack_lists, unpack_lists
from promo_spark.recommend.ranker import (
    SLOTS,
    SlotRanker,
    bins_of,
    fit_rankers,
    neighbourhood_of,
    score_candidates,
)
from promo_spark.recommend.windows import (
    Batches,
    Windows,
    number_catalogue,
    pack_purchase_days,
    prepare_windows,
    purchases_of,
)

Learnt = tuple[HistGradientBoostingClassifier, NDArray[np.float64]]
"""A model, and the probability of each bin of margins."""
_Maker = Callable[[Batches], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Hybrid:
    """Fitted rankers, and what was known at the date.

    Attributes:
        windows: At the date and the cuts learnt from.
        rankers: One per slot.
        customer_blocks: Into how many parts to cut the customers.
    """

    windows: Windows
    rankers: dict[str, SlotRanker]
    customer_blocks: int


def fit_hybrid(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    catalogue: DataFrame,
    as_of_date: date,
    settings: RecommendSettings,
    seed: int,
) -> Hybrid | None:
    """Learn from ``ranker_windows`` earlier windows of ``ranker_days`` days, each described by what came before it.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        catalogue: Rows of ``list_catalogue``.
        as_of_date: Lines on or after this date are ignored.
        settings: Windows, customers to learn from, neighbourhood.
        seed: Of the columns that each split looks at.

    Returns:
        The rankers, or None where too little was bought to learn from.
    """
    product_ids, groups = number_catalogue(catalogue=catalogue, products=products)
    if len(product_ids) == 0:
        return None
    packed = pack_purchase_days(
        order_lines=order_lines, products=products, product_ids=product_ids, as_of_date=as_of_date, settings=settings
    ).persist()
    customer_count = packed.count()
    blocks = blocks_of(customer_count)
    customers = _laid_out(packed, blocks).persist()
    cuts = [-settings.ranker_days * window for window in range(settings.ranker_windows, -1, -1)]
    windows = prepare_windows(customers=customers, product_ids=product_ids, groups=groups, cuts=cuts, settings=settings)
    rankers = fit_rankers(
        customers=customers, customer_count=customer_count, windows=windows, settings=settings, seed=seed
    )
    for frame in (customers, packed):
        frame.unpersist()
    return None if rankers is None else Hybrid(windows, rankers, blocks)


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def recommend_by_hybrid(
    *, order_lines: DataFrame, products: DataFrame, hybrid: Hybrid, as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """Recommend the candidates most likely to be bought in the ``ranker_days`` days from the date.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        hybrid: Fitted on rows before the date.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, neighbourhood and the length of the lists.

    Returns:
        recommend.products of model hybrid: the slots all and novel of every customer who bought something of the
        catalogue before the date. The score is the calibrated probability of a purchase.
    """
    packed = pack_purchase_days(
        order_lines=order_lines,
        products=products,
        product_ids=hybrid.windows.product_ids,
        as_of_date=as_of_date,
        settings=settings,
    )
    now = Windows(hybrid.windows.product_ids, hybrid.windows.reference_ids, {0: hybrid.windows.by_cut[0]})
    learnt = {slot: (ranker.model, ranker.probabilities) for slot, ranker in hybrid.rankers.items()}
    shared = order_lines.sparkSession.sparkContext.broadcast((now, learnt))
    made = _laid_out(packed, hybrid.customer_blocks).mapInArrow(
        _list_maker(shared, settings), ", ".join(("customer_id string", *LIST_COLUMNS))
    )
    return attribute_lists(unpack_lists(made), model="hybrid", as_of_date=as_of_date)


def _laid_out(packed: DataFrame, blocks: int) -> DataFrame:
    return packed.repartition(blocks, "customer_id").sortWithinPartitions("customer_id")


def _list_maker(shared: Broadcast[tuple[Windows, dict[str, Learnt]]], settings: RecommendSettings) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def make_lists(batches: Batches) -> Iterator[pa.RecordBatch]:
        windows, learnt = shared.value
        window = windows.by_cut[0]
        product_ids = pa.array(windows.product_ids, pa.string())
        for batch in batches:
            customer_ids = batch.column("customer_id")
            habits = habits_before(purchases_of(batch), 0)
            places = places_of(customer_ids, windows.reference_ids)
            best = {slot: empty_lists(len(customer_ids), settings.list_length) for slot in SLOTS}
            repeats = np.zeros((len(customer_ids), settings.list_length), dtype=np.bool_)
            for found in find_candidates(habits, places, window.catalogue, window.pool, neighbourhood_of(settings)):
                for slot, own in learnt.items():
                    fill_lists(best[slot], repeats, found, slot, own)
            for slot in SLOTS:
                is_repeat = repeats if slot == "all" else np.zeros_like(repeats)
                yield pack_lists(customer_ids, slot, best[slot], is_repeat, product_ids)

    return make_lists


def empty_lists(n_customers: int, length: int) -> TopK:
    """Lists to be filled."""
    return TopK(np.full((n_customers, length), NONE), np.full((n_customers, length), -np.inf, dtype=np.float32))


def fill_lists(best: TopK, repeats: NDArray[np.bool_], found: Candidates, slot: str, learnt: Learnt) -> None:
    """Rank a tile's candidates by their margins, then by product, and enter the best with their probabilities."""
    model, probabilities = learnt
    places, margins = score_candidates(found, slot, model)
    ranked = np.lexsort((found.products[places], -margins, found.customers[places]))
    order = places[ranked]
    customers = found.customers[order]
    ranks = np.arange(len(order)) - np.searchsorted(customers, customers)
    kept = ranks < best.items.shape[1]
    cells = customers[kept], ranks[kept]
    best.items[cells] = found.products[order[kept]]
    best.scores[cells] = probabilities[bins_of(margins[ranked[kept]])]
    if slot == "all":
        repeats[cells] = found.is_repeat[order[kept]]
