"""Turn a vendor's records into bronze rows by a mapping: every value read, every fault named, nothing dropped."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.records import MALFORMED, ORIGIN, RAW_CUSTOMER_ID, RAW_TEXT, RECORD
from promo_spark.contracts.source_settings import Filter, Scalar, TableMapping, received_columns
from promo_spark.contracts.table import TableContract
from promo_spark.sources.values import Target, cleaned, read_value

_COPY = "copy of an earlier record"
_BROKEN = "malformed record"


def needed_columns(mapping: TableMapping) -> tuple[str, ...]:
    """The vendor's columns that a mapping uses, in order."""
    mapped = [column.source for column in mapping.columns.values() if column.source is not None]
    return tuple(dict.fromkeys([*mapped, *(condition.column for condition in mapping.where)]))


def map_records(*, records: DataFrame, mapping: TableMapping, silver: TableContract, time_zone: str) -> DataFrame:
    """Map records onto the received columns of a table.

    Args:
        records: Frame of records (``promo_spark.contracts.records``), one row per record.
        mapping: Which of the vendor's columns makes which canonical one, and how.
        silver: The table they are for.
        time_zone: The retailer's own, for clocks without a zone and for days.

    Returns:
        One row per record: the columns of bronze but ``ingest_sequence``, the ``faults`` among them, and
        beside them the raw text and, where the table has customers, the raw customer id in place of the
        pseudonym. A value present but unreadable is NULL and named in ``faults``.
    """
    given: dict[str, Expression] = {}
    parsed: dict[str, Expression] = {}
    fitted: dict[str, Expression] = {}
    faults: list[Expression] = []
    schema = records.schema[RECORD].dataType
    for column in received_columns(silver):
        if column.name not in mapping.columns:
            fitted[column.name] = F.lit(None).cast(column.dtype)
            continue
        how = mapping.columns[column.name]
        if how.source is None:
            cleaned_value, cleaned_type = cleaned(F.lit(str(how.constant)), T.StringType(), how)
        else:
            value = F.col(RECORD).getField(how.source)
            cleaned_value, cleaned_type = cleaned(value, _field_type(schema, how.source), how)
        given[f"_given_{column.name}"] = cleaned_value
        target = Target(column.name, column.dtype, time_zone)
        places = F.col(f"_given_{column.name}"), F.col(f"_parsed_{column.name}")
        reading = read_value(places[0], cleaned_type, places[1], how, target)
        parsed[f"_parsed_{column.name}"] = reading.parsed
        fitted[column.name] = reading.fitted
        faults += reading.faults
    copies = [F.when(F.col("_copies") > 1, F.lit(_COPY))] if mapping.equal_lines_are_copies else []
    excluded = [_excluded(condition, schema) for condition in mapping.where]
    placed = (
        _number_copies(records.select("*", *_named(given)), list(given))
        if copies
        else records.select("*", *_named(given))
    )
    return _assemble(placed.select("*", *_named(parsed)), fitted, [*faults, *excluded, *copies])


def _assemble(parsed: DataFrame, fitted: dict[str, Expression], faults: list[Expression]) -> DataFrame:
    """Put values and faults together; of a record that could not be split, no value is trusted."""
    none = F.array().cast(T.ArrayType(T.StringType()))
    # Spark interprets array_compact row by row, so it is kept for the few records with a fault.
    any_fault = reduce(lambda left, right: left | right, (fault.isNotNull() for fault in faults), F.lit(False))
    named = F.when(any_fault, F.array_compact(F.array(*faults))).otherwise(none) if faults else none
    values = {name: F.when(~F.col(MALFORMED), value) for name, value in fitted.items()}
    if "customer_id" in values:
        values = {RAW_CUSTOMER_ID if name == "customer_id" else name: value for name, value in values.items()}
    return parsed.select(
        *_named(values),
        *ORIGIN,
        F.when(F.col(MALFORMED), F.array(F.lit(_BROKEN))).otherwise(named).alias("faults"),
        RAW_TEXT,
    )


def _named(expressions: dict[str, Expression]) -> list[Expression]:
    return [expression.alias(name) for name, expression in expressions.items()]


def _number_copies(records: DataFrame, names: list[str]) -> DataFrame:
    """Number equal records in the order in which they were received; malformed ones equal none."""
    same = Window.partitionBy(MALFORMED, *names).orderBy("source_file", "source_ordinal")
    number = F.when(F.col(MALFORMED), F.lit(1)).otherwise(F.row_number().over(same))
    return records.withColumn("_copies", number)


def _excluded(condition: Filter, schema: T.DataType) -> Expression:
    shown = condition.value if condition.value is not None else ""
    listed = ", ".join(map(str, shown)) if isinstance(shown, tuple) else str(shown)
    said = f"excluded by the source's filter: {condition.column} {condition.op} {listed}".rstrip()
    kept = _holds(F.col(RECORD).getField(condition.column), _field_type(schema, condition.column), condition)
    return F.when(~F.coalesce(kept, F.lit(False)), F.lit(said))


def _holds(value: Expression, dtype: T.DataType, condition: Filter) -> Expression:
    """The condition; a missing value is different from anything and in no list."""
    is_text = isinstance(dtype, T.StringType)
    value = F.trim(value) if is_text else value
    if condition.op in {"is_null", "is_not_null"}:
        missing = value.isNull() | (value == "") if is_text else value.isNull()
        return missing if condition.op == "is_null" else ~missing
    if isinstance(condition.value, tuple):
        found = reduce(
            lambda left, right: left | right,
            (F.coalesce(_same(value, dtype, item), F.lit(False)) for item in condition.value),
            F.lit(False),
        )
        return found if condition.op == "in" else ~found
    item = condition.value
    if condition.op in {"=", "!="}:
        same = F.coalesce(_same(value, dtype, item), F.lit(False))
        return same if condition.op == "=" else ~same
    left, right = _comparable(value, dtype, item)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[condition.op]


def _same(value: Expression, dtype: T.DataType, item: Scalar | None) -> Expression:
    left, right = _comparable(value, dtype, item)
    return left == right


def _comparable(
    value: Expression, dtype: T.DataType, item: Scalar | tuple[Scalar, ...] | None
) -> tuple[Expression, Expression]:
    """Compare as numbers where the settings give one, as days or instants where the column is, else as text."""
    if isinstance(item, bool):
        return F.lower(value.cast("string")), F.lit(str(item).lower())
    if isinstance(item, (int, float)):
        return value.try_cast("double"), F.lit(float(item))
    if isinstance(dtype, (T.DateType, T.TimestampType, T.TimestampNTZType)):
        return value, F.lit(str(item)).try_cast(dtype)
    return value.cast("string"), F.lit(str(item))


def _field_type(schema: T.DataType, name: str) -> T.DataType:
    if not isinstance(schema, T.StructType):
        raise TypeError(f"{RECORD} is no struct: {schema.simpleString()}")
    return schema[name].dataType
