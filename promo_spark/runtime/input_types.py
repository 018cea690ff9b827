"""One schema for Parquet files whose columns are of different types: the wider one, where every value fits it."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import types as T

from promo_spark.errors import SourceError

_WHOLE = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_DIGITS_OF_INTEGER, _DIGITS_OF_LONG, _MOST_DIGITS = 10, 20, 38


def common_schema(path: str, schemas: Mapping[str, T.StructType]) -> T.StructType:
    """Find the types in which Spark reads the columns of all files without loss.

    Args:
        path: The source's path.
        schemas: Columns per file name, of the same names in the same order.

    Raises:
        SourceError: A column is of types that do not go together; names both files.
    """
    first = min(schemas)
    names = schemas[first].names
    types = {name: schemas[first][name].dataType for name in names}
    for file in sorted(schemas):
        for name in names:
            found = schemas[file][name].dataType
            wider = wider_type(types[name], found)
            if wider is None:
                raise SourceError(
                    f"{path}: {name} is {found.simpleString()} in {file} and {types[name].simpleString()} in the files "
                    "before it. Export all files alike, or give each form its own table path."
                )
            types[name] = wider
    return T.StructType([T.StructField(name, types[name]) for name in names])


def wider_type(one: T.DataType, other: T.DataType) -> T.DataType | None:
    """The type that holds every value of both; None where Spark reads no such type from both kinds of files."""
    if one == other or isinstance(other, T.NullType):
        return one
    if isinstance(one, T.NullType):
        return other
    if isinstance(one, _WHOLE) and isinstance(other, _WHOLE):
        return max(one, other, key=lambda dtype: [type(dtype) is whole for whole in _WHOLE].index(True))
    kinds = {type(one), type(other)}
    if T.DoubleType in kinds and kinds <= {T.ByteType, T.ShortType, T.IntegerType, T.FloatType, T.DoubleType}:
        return T.DoubleType()
    if T.DecimalType in kinds and kinds <= {T.DecimalType, T.IntegerType, T.LongType}:
        return _wider_decimal(_as_decimal(one), _as_decimal(other))
    return None


def _as_decimal(dtype: T.DataType) -> T.DecimalType:
    if isinstance(dtype, T.DecimalType):
        return dtype
    return T.DecimalType(_DIGITS_OF_LONG if isinstance(dtype, T.LongType) else _DIGITS_OF_INTEGER, 0)


def _wider_decimal(one: T.DecimalType, other: T.DecimalType) -> T.DecimalType | None:
    scale = max(one.scale, other.scale)
    precision = max(one.precision - one.scale, other.precision - other.scale) + scale
    return T.DecimalType(precision, scale) if precision <= _MOST_DIGITS else None
