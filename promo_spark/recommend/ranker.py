"""Learn from earlier weeks which candidates customers bought: boosted trees, and probabilities they keep to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.ml.classification import GBTClassificationModel, GBTClassifier
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.isotonic import isotonic_regression

from promo_spark.contracts.rows import local_frame
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.kernels.boosted_trees import LEAF, Trees, add_trees
from promo_spark.kernels.candidates import LEARNT_FROM, Candidates, find_candidates
from promo_spark.kernels.examples import draw_examples, label_candidates
from promo_spark.kernels.habits import habits_before
from promo_spark.kernels.neighbours import Neighbourhood
from promo_spark.recommend.neighbours import places_of
from promo_spark.recommend.windows import Batches, Windows, purchases_of

SLOTS = ("all", "novel")
_SHARES = {"all": 0.15, "novel": 0.08}
"""Of the candidates that were not bought, how many are learnt from."""
_FEWEST = 100
"""Purchases to learn from, in each slot."""
_FOLDS = 5
"""One in so many customers is kept back to learn probabilities from."""
_BINS, _WIDEST = 400, 6.0
"""Margins are counted in bins; beyond the widest, all are alike."""
_EXAMPLES = "slot string, label double, features array<float>"
_COUNTS = "slot string, bin int, rows long, bought long"
_Maker = Callable[[Batches], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class SlotRanker:
    """The ranker of one slot.

    Attributes:
        model: Spark's model, over the columns ``LEARNT_FROM`` of the slot.
        trees: The same as arrays.
        probabilities: Of a purchase, for a margin in the middle of each bin; rising, shape (_BINS,).
        example_count: Rows it learnt from.
        sample: A few rows of features (vector), for the model's signature.
    """

    model: GBTClassificationModel
    trees: Trees
    probabilities: NDArray[np.float64]
    example_count: int
    sample: DataFrame


def fit_rankers(
    *, customers: DataFrame, windows: Windows, settings: RecommendSettings, seed: int
) -> dict[str, SlotRanker] | None:
    """Learn a ranker for each slot from the cuts before the date.

    A fifth of the customers is kept back; what they bought after the latest of these cuts turns margins into
    probabilities (isotonic regression).

    Args:
        customers: Rows of ``pack_purchase_days``; read twice, so best persisted.
        windows: At least one cut before the date; outcomes of a cut end on the date at the latest.
        settings: Days of outcomes, neighbourhood, trees.
        seed: Of the rows that each tree sees.

    Returns:
        The rankers, or None where too little was bought to learn from.
    """
    cuts = sorted(cut for cut in windows.by_cut if cut + settings.ranker_days <= 0)
    shared = customers.sparkSession.sparkContext.broadcast(windows)
    examples = customers.mapInArrow(_example_maker(shared, cuts, settings), _EXAMPLES).persist()
    counts = {
        row.slot: row
        for row in examples.groupBy("slot").agg(F.count("*").alias("n"), F.sum("label").alias("bought")).collect()
    }
    if any(
        slot not in counts or min(counts[slot].bought, counts[slot].n - counts[slot].bought) < _FEWEST for slot in SLOTS
    ):
        examples.unpersist()
        return None
    models = {slot: _fit(examples.where(F.col("slot") == slot), settings, seed) for slot in SLOTS}
    trees = {slot: trees_of(model) for slot, model in models.items()}
    probabilities = _calibrate(customers, shared, cuts[-1], trees, settings)
    examples.unpersist()
    return {
        slot: SlotRanker(models[slot], trees[slot], probabilities[slot], counts[slot].n, _sample(customers, slot))
        for slot in SLOTS
    }


def as_vectors(examples: DataFrame) -> DataFrame:
    """Examples as Spark's models take them: label and features."""
    return examples.select("label", array_to_vector(F.col("features")).alias("features"))


def trees_of(model: GBTClassificationModel) -> Trees:
    """A fitted model's trees as arrays."""
    depth = max(tree.depth for tree in model.trees)
    shape = len(model.trees), 2 ** (depth + 1) - 1
    trees = Trees(np.full(shape, LEAF), np.zeros(shape), np.zeros(shape))
    for place, (tree, weight) in enumerate(zip(model.trees, model.treeWeights, strict=True)):
        java_tree: Any = tree._java_obj
        _lay_out(java_tree.rootNode(), 0, weight, Trees(*(own[place] for own in trees)))
    return trees


def score_candidates(found: Candidates, slot: str, trees: Trees) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of the slot's candidates, and their margins."""
    places = np.flatnonzero(found.competes(slot))
    return places, add_trees(trees, found.features[places][:, LEARNT_FROM[slot]])


def bins_of(margins: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each margin."""
    scaled = (np.clip(margins, -_WIDEST, _WIDEST) + _WIDEST) / (2 * _WIDEST)
    return np.minimum((scaled * _BINS).astype(np.int64), _BINS - 1)


def neighbourhood_of(settings: RecommendSettings) -> Neighbourhood:
    """How neighbours are chosen, as the settings say."""
    return Neighbourhood(settings.neighbours, settings.neighbour_power, settings.neighbour_weight)


def _fit(examples: DataFrame, settings: RecommendSettings, seed: int) -> GBTClassificationModel:
    learner = GBTClassifier(
        maxIter=settings.ranker_trees,
        maxDepth=settings.ranker_depth,
        stepSize=settings.ranker_step,
        minInstancesPerNode=20,
        subsamplingRate=0.7,
        seed=seed,
    )
    model: GBTClassificationModel = learner.fit(as_vectors(examples))
    return model


def _sample(customers: DataFrame, slot: str) -> DataFrame:
    """Rows in the form of a model's input; of nobody."""
    rows = [(0.0, [0.0] * len(LEARNT_FROM[slot])), (0.0, [1.0] * len(LEARNT_FROM[slot]))]
    return as_vectors(local_frame(customers.sparkSession, rows, "label double, features array<double>")).select(
        "features"
    )


def _lay_out(node: Any, place: int, weight: float, tree: Trees) -> None:  # noqa: ANN401  (a node of the JVM)
    if node.subtreeDepth() == 0:
        tree.values[place] = weight * node.prediction()
        return
    tree.features[place], tree.thresholds[place] = node.split().featureIndex(), node.split().threshold()
    _lay_out(node.leftChild(), 2 * place + 1, weight, tree)
    _lay_out(node.rightChild(), 2 * place + 2, weight, tree)


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
                        yield _as_examples(slot, found.features[drawn][:, LEARNT_FROM[slot]], labels[drawn])

    return make_examples


def _as_examples(slot: str, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> pa.RecordBatch:
    offsets = pa.array(np.arange(len(features) + 1) * features.shape[1], pa.int32())
    columns = {
        "slot": pa.array(np.full(len(features), slot), pa.string()),
        "label": pa.array(labels.astype(np.float64)),
        "features": pa.ListArray.from_arrays(offsets, pa.array(features.ravel())),
    }
    return pa.RecordBatch.from_pydict(columns)


def _calibrate(
    customers: DataFrame, shared: Broadcast[Windows], cut: int, trees: dict[str, Trees], settings: RecommendSettings
) -> dict[str, NDArray[np.float64]]:
    """Learn from customers kept back how often candidates of a margin are bought, shape (_BINS,) per slot."""
    kept = customers.where(F.pmod("customer_key", F.lit(_FOLDS)) == 0)
    counted = (
        kept.mapInArrow(_counter(shared, cut, trees, settings), _COUNTS)
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


def _counter(shared: Broadcast[Windows], cut: int, trees: dict[str, Trees], settings: RecommendSettings) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers: candidates and purchases per bin."""

    def count_bins(batches: Batches) -> Iterator[pa.RecordBatch]:
        counts = {slot: np.zeros((2, _BINS), dtype=np.int64) for slot in SLOTS}
        for batch in batches:
            keys = batch.column("customer_key").to_numpy()
            for found, labels, _ in _labelled(batch, shared.value, cut, settings, keys):
                for slot, own in counts.items():
                    places, margins = score_candidates(found, slot, trees[slot])
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
