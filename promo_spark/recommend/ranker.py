"""Learn from earlier weeks which candidates customers bought: boosted trees, and probabilities they keep to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import isotonic_regression

from promo_spark.contracts.arrow_matrices import lists_of, matrix_of
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.kernels.candidates import LEARNT_FROM, Candidates, find_candidates
from promo_spark.kernels.examples import draw_examples, label_candidates
from promo_spark.kernels.habits import habits_before
from promo_spark.kernels.neighbours import Neighbourhood
from promo_spark.recommend.neighbours import places_of
from promo_spark.recommend.windows import Batches, Windows, purchases_of

SLOTS = ("all", "novel")
_SHARES = {"all": 0.3, "novel": 0.1}
"""Of the candidates that were not bought, how many are learnt from."""
_LEARNERS = {
    "all": {"max_iter": 150, "max_leaf_nodes": 16, "min_samples_leaf": 200},
    "novel": {"max_iter": 60, "max_leaf_nodes": 12, "min_samples_leaf": 400},
}
"""Settled on weeks before those that docs/benchmarks.md judges by (decision 17)."""
_LEAST_LEAF = 5
_FEWEST = 100
"""Purchases to learn from, in each slot."""
_FOLDS = 5
"""One in so many customers is kept back to learn probabilities from."""
_BINS, _WIDEST = 400, 6.0
"""Margins are counted in bins; beyond the widest, all are alike."""
_SHADES = 1_000_000
"""Customers are drawn in shares of one in so many."""
_EXAMPLES = "slot string, customer_key long, cut int, product int, label boolean, features array<float>"
_ORDER = [(name, "ascending") for name in ("slot", "cut", "customer_key", "product")]
_COUNTS = "slot string, bin int, rows long, bought long"
Models = dict[str, HistGradientBoostingClassifier]
_Maker = Callable[[Batches], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class SlotRanker:
    """The ranker of one slot.

    Attributes:
        model: Over the columns ``LEARNT_FROM`` of the slot; its decision function is the margin.
        probabilities: Of a purchase, for a margin in the middle of each bin; rising, shape (_BINS,).
        example_count: Rows it learnt from.
    """

    model: HistGradientBoostingClassifier
    probabilities: NDArray[np.float64]
    example_count: int


def fit_rankers(
    *, customers: DataFrame, customer_count: int, windows: Windows, settings: RecommendSettings, seed: int
) -> dict[str, SlotRanker] | None:
    """Learn a ranker for each slot from the cuts before the date.

    Rows of at most ``ranker_customers`` customers, drawn by hash, come to the driver. A fifth of these customers
    is kept back; what they bought after the latest of the cuts turns margins into probabilities (isotonic
    regression).

    Args:
        customers: Rows of ``pack_purchase_days``; read twice, so best persisted.
        customer_count: How many they are.
        windows: At least one cut before the date; outcomes of a cut end on the date at the latest.
        settings: Days of outcomes, neighbourhood, customers to learn from.
        seed: Of the columns that each split looks at.

    Returns:
        The rankers, or None where too little was bought to learn from.
    """
    cuts = sorted(cut for cut in windows.by_cut if cut + settings.ranker_days <= 0)
    drawn = customers
    if customer_count > settings.ranker_customers:
        share = settings.ranker_customers / customer_count
        drawn = customers.where(F.pmod(F.xxhash64("customer_key"), F.lit(_SHADES)) < F.lit(int(share * _SHADES)))
    shared = customers.sparkSession.sparkContext.broadcast(windows)
    # Histograms are summed in the order of the rows: in one order they repeat.
    examples = drawn.mapInArrow(_example_maker(shared, cuts, settings), _EXAMPLES).toArrow().sort_by(_ORDER)
    by_slot = {slot: examples.filter(pc.equal(examples.column("slot"), slot)) for slot in SLOTS}
    for own in by_slot.values():
        bought = int(pc.sum(own.column("label")).as_py() or 0)
        if min(bought, len(own) - bought) < _FEWEST:
            return None
    models = {slot: _fit(own, seed) for slot, own in by_slot.items()}
    probabilities = _calibrate(drawn, shared, cuts[-1], models, settings)
    return {slot: SlotRanker(models[slot], probabilities[slot], len(own)) for slot, own in by_slot.items()}


def score_candidates(
    found: Candidates, slot: str, model: HistGradientBoostingClassifier
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of the slot's candidates, and their margins."""
    places = np.flatnonzero(found.competes(slot))
    if len(places) == 0:
        return places, np.empty(0)
    margins: NDArray[np.float64] = model.decision_function(found.features[places][:, LEARNT_FROM[slot]])
    return places, margins


def bins_of(margins: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each margin."""
    scaled = (np.clip(margins, -_WIDEST, _WIDEST) + _WIDEST) / (2 * _WIDEST)
    return np.minimum((scaled * _BINS).astype(np.int64), _BINS - 1)


def neighbourhood_of(settings: RecommendSettings) -> Neighbourhood:
    """How neighbours are chosen, as the settings say."""
    return Neighbourhood(settings.neighbours, settings.neighbour_power, settings.neighbour_weight)


def _fit(examples: pa.Table, seed: int) -> HistGradientBoostingClassifier:
    inputs, labels = matrix_of(examples.column("features")), examples.column("label").to_numpy()
    slot = examples.column("slot")[0].as_py()
    own: dict[str, Any] = {**_LEARNERS[slot]}
    # Few rows: leaves of a hundredth of them still tell customers apart.
    own["min_samples_leaf"] = max(_LEAST_LEAF, min(own["min_samples_leaf"], len(labels) // 100))
    learner = HistGradientBoostingClassifier(
        learning_rate=0.06, l2_regularization=1.0, max_features=0.5, early_stopping=False, random_state=seed, **own
    )
    model: HistGradientBoostingClassifier = learner.fit(inputs, labels)
    return model


def _is_kept_back(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    kept: NDArray[np.bool_] = keys % _FOLDS == 0
    return kept


def _labelled(
    batch: pa.RecordBatch, windows: Windows, cut: int, settings: RecommendSettings, keys: NDArray[np.int64]
) -> Iterator[tuple[Candidates, NDArray[np.bool_], NDArray[np.int64]]]:
    """Candidates at a cut, whether they were bought, and their customers' keys."""
    window, purchases = windows.by_cut[cut], purchases_of(batch)
    places = places_of(batch.column("customer_id"), windows.reference_ids)
    habits = habits_before(purchases, cut)
    for found in find_candidates(habits, places, window.catalogue, window.pool, neighbourhood_of(settings)):
        yield found, label_candidates(found, purchases, cut, settings.ranker_days, len(windows.product_ids)), keys


def _example_maker(shared: Broadcast[Windows], cuts: Sequence[int], settings: RecommendSettings) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers: rows to learn from."""

    def make_examples(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            keys = batch.column("customer_key").to_numpy()
            for cut in cuts:
                for found, labels, own_keys in _labelled(batch, shared.value, cut, settings, keys):
                    for slot in SLOTS:
                        drawn = draw_examples(found, labels, slot, own_keys + cut, _SHARES[slot])
                        drawn = drawn[~_is_kept_back(own_keys)[found.customers[drawn]]]
                        columns = {
                            "slot": pa.array(np.full(len(drawn), slot), pa.string()),
                            "customer_key": pa.array(own_keys[found.customers[drawn]]),
                            "cut": pa.array(np.full(len(drawn), cut), pa.int32()),
                            "product": pa.array(found.products[drawn].astype(np.int32)),
                            "label": pa.array(labels[drawn]),
                            "features": lists_of(found.features[drawn][:, LEARNT_FROM[slot]]),
                        }
                        yield pa.RecordBatch.from_pydict(columns)

    return make_examples


def _calibrate(
    customers: DataFrame, shared: Broadcast[Windows], cut: int, models: Models, settings: RecommendSettings
) -> dict[str, NDArray[np.float64]]:
    """Learn from customers kept back how often candidates of a margin are bought, shape (_BINS,) per slot."""
    kept = customers.where(F.pmod("customer_key", F.lit(_FOLDS)) == 0)
    counted = (
        kept.mapInArrow(_counter(shared, cut, models, settings), _COUNTS)
        .groupBy("slot", "bin")
        .agg(F.sum("rows").alias("rows"), F.sum("bought").alias("bought"))
        .toPandas()
        .sort_values(["slot", "bin"])
    )
    curves: dict[str, NDArray[np.float64]] = {}
    for slot in SLOTS:
        own = counted[counted["slot"] == slot]
        if own.empty:
            curves[slot] = np.zeros(_BINS)
            continue
        weights = own["rows"].to_numpy(dtype=np.float64)
        rising = isotonic_regression(own["bought"].to_numpy(dtype=np.float64) / weights, sample_weight=weights)
        curves[slot] = np.interp(np.arange(_BINS), own["bin"].to_numpy(), rising)
    return curves


def _counter(shared: Broadcast[Windows], cut: int, models: Models, settings: RecommendSettings) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers: candidates and purchases per bin."""

    def count_bins(batches: Batches) -> Iterator[pa.RecordBatch]:
        counts = {slot: np.zeros((2, _BINS), dtype=np.int64) for slot in SLOTS}
        for batch in batches:
            keys = batch.column("customer_key").to_numpy()
            for found, labels, _ in _labelled(batch, shared.value, cut, settings, keys):
                for slot, own in counts.items():
                    places, margins = score_candidates(found, slot, models[slot])
                    bins = bins_of(margins)
                    own += [np.bincount(bins, w, _BINS).astype(np.int64) for w in (None, labels[places])]
        for slot, (rows, bought) in counts.items():
            bins = np.flatnonzero(rows)
            columns = {
                "slot": pa.array(np.full(len(bins), slot), pa.string()),
                "bin": pa.array(bins, pa.int32()),
                "rows": pa.array(rows[bins]),
                "bought": pa.array(bought[bins]),
            }
            yield pa.RecordBatch.from_pydict(columns)

    return count_bins
