"""Columns of arrays as matrices, and back."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def matrix_of(column: pa.Array | pa.ChunkedArray) -> Floats:
    """Arrays of equal length as a matrix, shape (n_rows, length)."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values: Floats = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return values.reshape(len(lists), -1)


def lists_of(values: np.ndarray) -> pa.ListArray:
    """Each row as an array, shape (n_rows, ...)."""
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    offsets = np.arange(len(flat) + 1, dtype=np.int32) * flat.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.ravel()))
