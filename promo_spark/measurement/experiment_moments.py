"""One pass over the customers of experiments: all that their analysis needs, summed by arm, stratum and segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.stat import Summarizer
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.experiments import ALL_SEGMENTS, EXPERIMENT_MOMENTS, EXPERIMENT_ROWS
from promo_spark.contracts.step import produces
from promo_spark.kernels.unit_sums import UnitBlock, UnitSums, pack_bins, sum_units, unpack_bins
from promo_spark.kernels.value_bins import BINS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = tuple[object, ...]
_CELL = ("experiment", "as_of_date", "arm", "stratum", "segment", "is_clustered")
_SUMS = ("counts", "propensities", "products", "bins", "fractions")
_FAULTS = ("is_ambiguous", "is_repeated", "is_early", "is_missing")
_ROWS_TOGETHER = 100_000
_WIDEST = 1 << 20
_FLAGS = ("is_customer", "is_unit", *_FAULTS)
_SCHEMA = (
    "experiment string, as_of_date date, arm string, stratum string, segment string, is_clustered boolean, "
    + ", ".join(f"{name} array<double>" for name in _SUMS)
)


@produces(EXPERIMENT_MOMENTS, experiment_rows=EXPERIMENT_ROWS)
def gather_moments(*, experiment_rows: DataFrame) -> DataFrame:
    """Add up units, their products and their histograms; each part of the data hands on one row per cell.

    Customers that share a cluster are summed to it first, and the products are those of clusters. Customers in several
    arms, with outcomes before their assignment or without any are counted and left out.

    Args:
        experiment_rows: measurement.experiment_rows; read twice where there are clusters.

    Returns:
        measurement.experiment_moments.
    """
    is_clustered = F.col("cluster_id").isNotNull()
    customers = experiment_rows.select(
        *("experiment", "as_of_date", "arm", "stratum", "segment", is_clustered.alias("is_clustered")),
        F.lit(1.0).alias("weight"),
        F.col("propensity").cast("double").alias("propensity"),
        F.lit(True).alias("is_customer"),
        (~is_clustered).alias("is_unit"),
        (F.col("arm_count") > 1).alias("is_ambiguous"),
        (F.col("record_count") > 1).alias("is_repeated"),
        *("is_early", "is_missing", "covariates", "outcomes"),
    )
    rows = customers.unionByName(_sum_clusters(experiment_rows.where(is_clustered)))
    parts = rows.mapInArrow(_sum_part, _SCHEMA)
    return parts.groupBy("experiment", "as_of_date", "arm").applyInPandas(_add_parts, _SCHEMA)


def _sum_clusters(rows: DataFrame) -> DataFrame:
    """One row per cluster and arm: customers, and sums of what they did; sound ones alone."""
    is_sound = (F.col("arm_count") == 1) & ~F.col("is_early") & ~F.col("is_missing")
    # There may be no covariates, and of nothing there is no sum: they are summed with the outcomes.
    sums = vector_to_array(Summarizer.sum(array_to_vector(F.concat("covariates", "outcomes"))))
    width = F.first(F.size("covariates"))
    clusters = (
        rows.where(is_sound)
        .groupBy("experiment", "as_of_date", "arm", "cluster_id")
        .agg(F.count("*").cast("double").alias("weight"), sums.alias("_sums"), width.alias("_width"))
        .withColumn("covariates", F.slice("_sums", F.lit(1), F.col("_width")))
        .withColumn("outcomes", F.slice("_sums", F.col("_width") + 1, F.size("_sums")))
    )
    arms = F.count("*").over(Window.partitionBy("experiment", "as_of_date", "cluster_id"))
    return clusters.withColumns(
        {
            "stratum": F.lit(ALL_SEGMENTS),
            "segment": F.lit(ALL_SEGMENTS),
            "is_clustered": F.lit(True),
            "propensity": F.lit(None).cast("double"),
            "is_customer": F.lit(False),
            "is_unit": F.lit(True),
            "is_ambiguous": arms > 1,
            **{name: F.lit(False) for name in ("is_repeated", "is_early", "is_missing")},
        }
    ).drop("cluster_id", "_sums", "_width")


def _add_parts(parts: pd.DataFrame) -> pd.DataFrame:
    """The cells of an arm from those of all parts of the data.

    In an order of their own, for sums of doubles depend on it.
    """
    ordered = parts.iloc[np.lexsort([parts["products"].map(lambda values: values[-1]), parts["counts"].map(sum)])]
    rows = []
    for key, own in ordered.groupby(list(_CELL), sort=True):
        sums = {name: np.sum(np.stack(own[name].to_list()), axis=0) for name in _SUMS if name != "bins"}
        packed = np.concatenate(own["bins"].to_list())
        bins = unpack_bins(packed, len(sums["fractions"]), BINS) if len(packed) else np.zeros((0, BINS, 3))
        rows.append(dict(zip(_CELL, key, strict=True)) | sums | {"bins": pack_bins(bins)})
    return pd.DataFrame(rows, columns=[*_CELL, *_SUMS])


def _sum_part(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Sum all batches of one part of the data, and hand its cells on."""
    found: dict[Key, list[Floats]] = {}
    for batch in _joined(batches):
        keys, cells = _number_cells(batch)
        # Experiments differ in what is measured; their rows are summed apart.
        shapes = _widths(batch, "covariates") * _WIDEST + _widths(batch, "outcomes")
        for shape in np.unique(shapes).tolist():
            own = np.flatnonzero(shapes == shape)
            chosen = batch if len(own) == batch.num_rows else batch.take(pa.array(own))
            present, codes = np.unique(cells[own], return_inverse=True)
            arms, owners = _number_arms([keys[cell] for cell in present.tolist()])
            sums = sum_units(_block(chosen, codes, owners[codes], divmod(shape, _WIDEST)), len(present), len(arms))
            for place, cell in enumerate(present.tolist()):
                _keep(found, keys[cell], _of_cell(sums, place))
            for place, arm in enumerate(arms):
                _keep(found, arm, _of_arm(sums, place))
    if found:
        yield pa.RecordBatch.from_pylist([_row(key, sums) for key, sums in found.items()], schema=_arrow_schema())


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches put together: histograms cost the same for many rows as for few."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= _ROWS_TOGETHER:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


def _number_arms(keys: list[Key]) -> tuple[list[Key], Ints]:
    """The arms of cells, each as the cell of all strata and segments, and each cell's number among them."""
    arms = [(*key[:3], ALL_SEGMENTS, ALL_SEGMENTS, key[5]) for key in keys]
    distinct = list(dict.fromkeys(arms))
    return distinct, np.array([distinct.index(arm) for arm in arms], dtype=np.int64)


def _of_cell(sums: UnitSums, place: int) -> list[Floats]:
    return [sums.counts[place], sums.propensities[place], sums.products[place], *_nothing(sums)[3:]]


def _of_arm(sums: UnitSums, place: int) -> list[Floats]:
    return [*_nothing(sums)[:3], sums.bins[place], sums.fractions[place]]


def _nothing(sums: UnitSums) -> list[Floats]:
    """Zeros in the shapes of one cell; they take no memory of their own."""
    return [np.broadcast_to(np.zeros(()), part.shape[1:]) for part in sums]


def _number_cells(batch: pa.RecordBatch) -> tuple[list[Key], Ints]:
    """The cells of a batch, and each row's number among them."""
    codes = np.zeros(batch.num_rows, dtype=np.int64)
    values: list[list[object]] = []
    for name in _CELL:
        encoded = batch.column(name).dictionary_encode()
        values.append(encoded.dictionary.to_pylist())
        codes = codes * len(values[-1]) + encoded.indices.to_numpy(zero_copy_only=False)
    present, cells = np.unique(codes, return_inverse=True)
    places = np.unravel_index(present, [len(names) for names in values])
    keys = [tuple(names[place] for names, place in zip(values, own, strict=True)) for own in zip(*places, strict=True)]
    return keys, cells.astype(np.int64)


def _widths(batch: pa.RecordBatch, name: str) -> Ints:
    column = batch.column(name)
    widths: Ints = np.diff(column.offsets.to_numpy()).astype(np.int64)
    return widths


def _block(batch: pa.RecordBatch, cells: Ints, arms: Ints, shape: tuple[int, int]) -> UnitBlock:
    flags = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in _FLAGS}
    propensities = batch.column("propensity").to_numpy(zero_copy_only=False).astype(np.float64)
    return UnitBlock(
        cells=cells.astype(np.int64),
        arms=arms,
        weights=batch.column("weight").to_numpy(),
        is_customer=flags["is_customer"],
        is_unit=flags["is_unit"],
        faults=np.column_stack([flags[name] for name in _FAULTS]),
        propensities=propensities,
        covariates=batch.column("covariates").flatten().to_numpy().reshape(-1, shape[0])
        if shape[0]
        else np.zeros((batch.num_rows, 0)),
        outcomes=batch.column("outcomes").flatten().to_numpy().reshape(-1, shape[1]),
    )


def _keep(found: dict[Key, list[Floats]], key: Key, own: list[Floats]) -> None:
    held = found.get(key)
    found[key] = own if held is None else [_added(one, other) for one, other in zip(held, own, strict=True)]


def _added(one: Floats, other: Floats) -> Floats:
    """The sum; what is all zeros without memory of its own stays so."""
    if not any(other.strides):
        return one
    return np.array(other) if not any(one.strides) else one + other


def _row(key: Key, sums: list[Floats]) -> dict[str, object]:
    parts = UnitSums(*sums)
    laid_out = {name: getattr(parts, name).ravel() for name in _SUMS if name != "bins"}
    packed = pack_bins(parts.bins) if any(parts.bins.strides) else np.zeros(0)
    return dict(zip(_CELL, key, strict=True)) | laid_out | {"bins": packed}


def _arrow_schema() -> pa.Schema:
    numbers = pa.list_(pa.float64())
    kinds = [pa.string(), pa.date32(), pa.string(), pa.string(), pa.string(), pa.bool_(), *[numbers] * len(_SUMS)]
    return pa.schema(list(zip((*_CELL, *_SUMS), kinds, strict=True)))
