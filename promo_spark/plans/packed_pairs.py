"""Customers and their promotions packed into blocks: one row holds some ten thousand customers as flat arrays.

A block's customers are ordered by cell. Values and costs lie slot by slot, in the precision they came in. Blocks of
stratum 0 hold the customers that samples are drawn from, so that a sample need not look at all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.allocation_response import SAMPLING, PairBlock
from promo_spark.kernels.hash_draws import draw_uniform

STRATUM_SHARE = 1 / 64
"""Share of customers in stratum 0."""
BLOCK_PAIRS = 1 << 18
"""About so many pairs make a block."""
PACKED_COLUMNS = (
    "stratum int, customer_count int, pair_count bigint, slot_count int, precision int, promotion_count int, "
    "cell_numbers array<int>, cell_sizes array<int>, value_bound double, cost_bound double, "
    "id_offsets binary, id_text binary, customer_keys binary, slot_promotions binary, pair_values binary, "
    "pair_costs binary"
)
PAIR_COLUMNS = (
    "cell_numbers",
    "cell_sizes",
    "slot_count",
    "precision",
    "promotion_count",
    "customer_keys",
    "slot_promotions",
    "pair_values",
    "pair_costs",
)
"""What is needed to make a ``PairBlock``."""
ID_COLUMNS = ("id_offsets", "id_text")

_Mapper = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def pack_pairs(*, pairs: DataFrame, promotion_count: int) -> DataFrame:
    """Pack customers into blocks, which should be stored: every pass over them would pack them again.

    Args:
        pairs: One row per customer: customer_id (string), cell (int, from 0), promotions (array<int>, from 0, each at
            most once), values and costs (array<float> or array<double>, as long; costs at least 0). An empty list of
            promotions is a customer who gets none.
        promotion_count: Number of promotions.

    Returns:
        Blocks of the columns in ``PACKED_COLUMNS``.

    Raises:
        ValueError: In the tasks, naming a customer: a value or cost is missing, NaN or infinite, a cost is negative, a
            promotion does not exist or appears twice, lists differ in length, or a customer_id or cell is missing.
    """
    keyed = pairs.select("customer_id", F.xxhash64("customer_id").alias("key"), "cell", "promotions", "values", "costs")
    return keyed.mapInArrow(_packer(promotion_count), PACKED_COLUMNS)


def _packer(promotion_count: int) -> _Mapper:
    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []
        pairs = 0
        for batch in batches:
            waiting.append(batch)
            pairs += len(batch.column("promotions").flatten())
            if pairs >= BLOCK_PAIRS:
                yield from _pack_table(pa.Table.from_batches(waiting), promotion_count)
                waiting, pairs = [], 0
        if waiting:
            yield from _pack_table(pa.Table.from_batches(waiting), promotion_count)

    return pack


def _pack_table(table: pa.Table, promotion_count: int) -> Iterator[pa.RecordBatch]:
    """Blocks of customers: by stratum, by about how many pairs each has, and by cell."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    ids = columns["customer_id"]
    lengths = _check_lists(columns, ids)
    keys = columns["key"].to_numpy(zero_copy_only=False)
    cells = columns["cell"].to_numpy(zero_copy_only=False).astype(np.int64)
    flat = [columns[name].flatten().to_numpy(zero_copy_only=False) for name in ("promotions", "values", "costs")]
    owners = np.repeat(np.arange(len(ids)), lengths)
    _check_pairs(flat, owners, ids, promotion_count)
    order = np.lexsort((flat[0], owners))
    promotions, values, costs = (part[order] for part in flat)
    firsts = np.cumsum(lengths) - lengths
    strata = (draw_uniform(keys, SAMPLING) >= STRATUM_SHARE).astype(np.int64)
    widths = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    groups = strata * 64 + widths
    for group in np.unique(groups[lengths > 0]).tolist():
        members = np.flatnonzero((groups == group) & (lengths > 0))
        members = members[np.lexsort((keys[members], cells[members]))]
        slots = np.arange(lengths[members].max())[:, None]
        has = slots < lengths[members]
        places = np.where(has, firsts[members] + slots, 0)
        own = np.where(has, promotions[places], promotion_count).astype(np.int32)
        is_dense = len(slots) == promotion_count and bool(has.all())
        block = PairBlock(
            keys[members],
            cells[members],
            None if is_dense else own,
            np.where(has, values[places], 0),
            np.where(has, costs[places], 0),
        )
        yield encode_block(ids.take(pa.array(members)), block, promotion_count, stratum=group // 64)


def _check_lists(columns: dict[str, pa.Array], ids: pa.Array) -> NDArray[np.int64]:
    """Length of each customer's lists."""
    for name, column in columns.items():
        if column.null_count:
            where = ids[int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])]
            raise ValueError(f"customer {where}: {name} is missing")
    lengths: NDArray[np.int64] = pc.list_value_length(columns["promotions"]).to_numpy(zero_copy_only=False)
    for name in ("values", "costs"):
        others = pc.list_value_length(columns[name]).to_numpy(zero_copy_only=False)
        if (others != lengths).any():
            raise ValueError(
                f"customer {ids[int(np.argmax(others != lengths))]}: promotions and {name} differ in length"
            )
    if pc.any(pc.less(columns["cell"], 0)).as_py():
        raise ValueError("cells are numbered from 0")
    return lengths.astype(np.int64)


def _check_pairs(flat: list[NDArray[Any]], owners: NDArray[np.int64], ids: pa.Array, promotion_count: int) -> None:
    promotions, values, costs = flat
    order = np.lexsort((promotions, owners))
    repeats = np.zeros(len(owners), dtype=np.bool_)
    repeats[order[1:]] = (np.diff(owners[order]) == 0) & (np.diff(promotions[order]) == 0)
    # A missing entry of a list arrives as NaN.
    faults = (
        (~np.isfinite(promotions) | (promotions < 0) | (promotions >= promotion_count), "there is no such promotion"),
        (repeats, "the promotion appears twice"),
        (~np.isfinite(values), "its value is not a finite number"),
        (~np.isfinite(costs), "its cost is not a finite number"),
        (costs < 0, "its cost is negative"),
    )
    for is_faulty, fault in faults:
        if is_faulty.any():
            place = int(np.argmax(is_faulty))
            raise ValueError(f"customer {ids[int(owners[place])]}, promotion {promotions[place]}: {fault}")


def encode_block(ids: pa.Array, block: PairBlock, promotion_count: int, *, stratum: int) -> pa.RecordBatch:
    """A row of ``PACKED_COLUMNS`` of customers ordered by cell."""
    pairs = block.values.size if block.promotions is None else int((block.promotions < promotion_count).sum())
    plain = ids.cast(pa.string())
    offsets = np.concatenate([[0], np.cumsum(pc.binary_length(plain).to_numpy(zero_copy_only=False))])
    row = {
        "stratum": pa.array([stratum], pa.int32()),
        "customer_count": pa.array([len(block.keys)], pa.int32()),
        "pair_count": pa.array([pairs], pa.int64()),
        **encode_pairs(block, promotion_count),
        "value_bound": pa.array([float(np.abs(block.values).max(axis=0).sum(dtype=np.float64))]),
        "cost_bound": pa.array([float(block.costs.max(axis=0).sum(dtype=np.float64))]),
        "id_offsets": _bytes(offsets.astype(np.int32)),
        "id_text": pa.array([_text(plain)], pa.binary()),
    }
    names = [part.split()[0] for part in PACKED_COLUMNS.split(", ")]
    return pa.RecordBatch.from_pydict({name: row[name] for name in names})


def encode_pairs(block: PairBlock, promotion_count: int) -> dict[str, pa.Array]:
    """The columns of ``PAIR_COLUMNS``."""
    numbers, sizes = np.unique(block.cells, return_counts=True)
    return {
        "cell_numbers": pa.array([numbers.tolist()], pa.list_(pa.int32())),
        "cell_sizes": pa.array([sizes.tolist()], pa.list_(pa.int32())),
        "slot_count": pa.array([len(block.values)], pa.int32()),
        "precision": pa.array([block.values.dtype.itemsize], pa.int32()),
        "promotion_count": pa.array([promotion_count], pa.int32()),
        "customer_keys": _bytes(block.keys),
        "slot_promotions": _bytes(None if block.promotions is None else block.promotions.astype(np.int32)),
        "pair_values": _bytes(block.values),
        "pair_costs": _bytes(block.costs),
    }


def _text(ids: pa.StringArray) -> bytes:
    """All ids end to end."""
    _, offsets, text = ids.buffers()
    ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    return b"" if text is None else text[int(ends[0]) : int(ends[-1])].to_pybytes()


def _bytes(values: NDArray[Any] | None) -> pa.Array:
    return pa.array([None if values is None else np.ascontiguousarray(values).tobytes()], pa.binary())


def decode_blocks(batch: pa.RecordBatch | pa.Table) -> Iterator[PairBlock]:
    """The blocks of a batch with the columns of ``PAIR_COLUMNS``, without copying pairs."""
    columns = {name: batch.column(name) for name in PAIR_COLUMNS}
    for row in range(batch.num_rows):
        numbers, sizes = (np.array(columns[name][row].as_py(), np.int64) for name in ("cell_numbers", "cell_sizes"))
        slots, dtype = columns["slot_count"][row].as_py(), f"f{columns['precision'][row].as_py()}"
        keys = np.frombuffer(columns["customer_keys"][row].as_buffer(), np.int64)
        promotions = columns["slot_promotions"][row]
        yield PairBlock(
            keys,
            np.repeat(numbers, sizes),
            np.frombuffer(promotions.as_buffer(), np.int32).reshape(slots, -1) if promotions.is_valid else None,
            np.frombuffer(columns["pair_values"][row].as_buffer(), dtype).reshape(slots, len(keys)),
            np.frombuffer(columns["pair_costs"][row].as_buffer(), dtype).reshape(slots, len(keys)),
        )


def decode_ids(batch: pa.RecordBatch) -> Iterator[pa.StringArray]:
    """Customers of the blocks of a batch with the columns of ``ID_COLUMNS``."""
    for offsets, text in zip(batch.column("id_offsets"), batch.column("id_text"), strict=True):
        buffer = offsets.as_buffer()
        yield pa.StringArray.from_buffers(buffer.size // 4 - 1, buffer, text.as_buffer())
