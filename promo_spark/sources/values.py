"""Read one value: from what a vendor wrote to a canonical type, or a fault that says it cannot be read.

No expression here raises, whatever the data: what cannot be read is NULL and named. The session's
time zone is UTC, so a wall clock that Spark parses is that clock as though it stood in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from pyspark.sql import Column as Expression
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.datetime_patterns import EPOCHS
from promo_spark.contracts.source_settings import FALSEHOODS, TRUTHS, ColumnMapping

_WIDE = T.DecimalType(38, 18)
# Doubles carry about 16 digits: a stored 3.14 differs from 3.14 by far less, a third decimal by far more.
_DOUBLE_NOISE = 1e-6
_ISO_DATE = r"^\d{4}-\d{1,2}-\d{1,2}\z"
_ISO_INSTANT = r"^\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)? ?(Z|UTC|[+-]\d{1,2}(:?\d{2})?)?)?\z"
_HAS_OFFSET = r"\d{1,2}:\d{2}.*(Z|UTC|[+-]\d{1,2}(:?\d{2})?)\z"
# Spark's casts pass over control characters at the ends, read 5d as 5, and round or drop what 18 decimals cannot hold.
_DECIMAL = r"^[+-]?((\d+(\.\d{0,18}0*)?|\.\d{1,18}0*)([eE]\+?\d{1,2})?|(\d+(\.\d{0,9})?|\.\d{1,9})[eE]-\d)\z"
_DOUBLE = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\z"
_EXACT_IN_DOUBLE = float(1 << 53)
# What other tools can hold, Python's dates among them.
_FIRST_DAY, _LAST_DAY = "0001-01-01", "9999-12-31"
_EPOCH_LIMITS = (-62_135_596_800, 253_402_300_799)  # years 1 to 9999


@dataclass(frozen=True)
class Target:
    """A canonical column to be made.

    Attributes:
        name: Column of the contract.
        dtype: Its type.
        zone: The retailer's own time zone: days are its days.
    """

    name: str
    dtype: T.DataType
    zone: str


@dataclass(frozen=True)
class Reading:
    """How a value is read, in two steps so that no text is parsed twice.

    Attributes:
        parsed: First step: the value before it is fitted to the column.
        fitted: Second step, from the column that holds ``parsed``: the value, NULL where it does not fit.
        faults: Second step: from the columns of the input and of ``parsed``, why it is NULL; NULL when sound.
    """

    parsed: Expression
    fitted: Expression
    faults: tuple[Expression, ...]


def cleaned(value: Expression, dtype: T.DataType, mapping: ColumnMapping) -> tuple[Expression, T.DataType]:
    """Trim, recognise what stands for "missing", translate codes.

    Returns:
        The value to read and its type: text, or the vendor's own type where nothing needed text.
    """
    is_text = isinstance(dtype, (T.StringType, T.CharType, T.VarcharType, T.BinaryType))
    if not is_text and mapping.values is None and set(mapping.null_values) <= {""}:
        return value, dtype
    text = F.trim(value.cast("string"), F.lit(" \t\u00a0")) if is_text else value.cast("string")
    if mapping.null_values:
        text = F.when(~text.isin(*mapping.null_values), text)
    if mapping.values:
        pairs = [F.lit(word) for pair in mapping.values.items() for word in pair]
        text = F.coalesce(F.create_map(*pairs)[text], text)
    return (
        (text, T.StringType())
        if is_text or mapping.values is not None
        else (
            F.when(text.isNotNull(), value),
            dtype,
        )
    )


def read_value(
    given: Expression, dtype: T.DataType, parsed: Expression, mapping: ColumnMapping, target: Target
) -> Reading:
    """Build the expressions that read a cleaned value into a column.

    Args:
        given: The column that holds the cleaned value.
        dtype: Its type.
        parsed: The column that will hold the first step's result.
        mapping: How the settings say it is to be read.
        target: The column to be made.
    """
    wanted = target.dtype
    if isinstance(wanted, (T.DecimalType, T.IntegralType)):
        return _read_number(given, dtype, parsed, mapping, target)
    unread = _unread(target)
    if isinstance(wanted, T.StringType):
        value = _as_text(given, dtype)
        if not isinstance(dtype, (T.DoubleType, T.FloatType)):
            return Reading(value, parsed, ())
    elif isinstance(wanted, T.FractionalType):
        value = _as_double(given, dtype, mapping)
    elif isinstance(wanted, T.BooleanType):
        value = _as_boolean(given, dtype)
    elif isinstance(wanted, T.DateType):
        value = _as_date(given, dtype, mapping, target.zone)
    else:
        value = _as_instant(given, dtype, mapping, target.zone)
    fitted = parsed
    if isinstance(wanted, (T.DateType, T.TimestampType)):
        first, last = F.lit(_FIRST_DAY).cast("date"), F.lit(_LAST_DAY).cast("date")
        fitted = F.when(parsed.cast("date").between(first, last), parsed)
    return Reading(value, fitted, (F.when(given.isNotNull() & fitted.isNull(), unread),))


def _unread(target: Target) -> Expression:
    # The value itself stays out of the fault: it may be personal.
    return F.lit(f"{target.name}: cannot read '{target.dtype.simpleString()}' from its text")


def _read_number(
    given: Expression, dtype: T.DataType, parsed: Expression, mapping: ColumnMapping, target: Target
) -> Reading:
    """Exact numbers: more decimals than the column keeps are a fault, not a silent rounding."""
    scale = target.dtype.scale if isinstance(target.dtype, T.DecimalType) else 0
    rounded = F.round(parsed, scale)
    if isinstance(dtype, (T.DoubleType, T.FloatType)):
        factor = 1.0 if mapping.multiply is None else mapping.multiply
        value = given.cast("double") * F.lit(factor)
        value = F.when(F.abs(value) < F.lit(float("inf")), value)
        inexact = F.abs(parsed - rounded) > F.lit(_DOUBLE_NOISE)
    else:
        value = _as_decimal(given, dtype, mapping)
        inexact = parsed != rounded
    fitted = rounded.try_cast(target.dtype)
    too_large = F.when(given.isNotNull() & fitted.isNull(), _unread(target))
    if mapping.round or (isinstance(dtype, T.IntegralType) and mapping.multiply is None):
        return Reading(value, fitted, (too_large,))
    too_fine = F.lit(f"{target.name}: more than {scale} decimals")
    return Reading(value, F.when(~inexact, fitted), (F.when(inexact, too_fine).otherwise(too_large),))


def _as_decimal(given: Expression, dtype: T.DataType, mapping: ColumnMapping) -> Expression:
    if isinstance(dtype, (T.DecimalType, T.IntegralType)):
        number = given
    else:
        text = _plain(given.cast("string"), mapping)
        number = F.when(text.rlike(_DECIMAL), text)
    if isinstance(dtype, T.IntegralType) and mapping.multiply is None:
        return number.cast(T.DecimalType(20, 0))
    wide = number if isinstance(dtype, T.DecimalType) else number.try_cast(_WIDE)
    if mapping.multiply is None:
        return wide
    return F.try_multiply(wide, F.lit(Decimal(str(mapping.multiply))))


def _as_double(given: Expression, dtype: T.DataType, mapping: ColumnMapping) -> Expression:
    text = given.cast("string")
    number = given
    if not isinstance(dtype, T.NumericType):
        plain = _plain(text, mapping)
        number = F.when(plain.rlike(_DOUBLE), plain)
    value = number.try_cast("double") * F.lit(1.0 if mapping.multiply is None else mapping.multiply)
    return F.when(F.abs(value) < F.lit(float("inf")), value)


def _plain(text: Expression, mapping: ColumnMapping) -> Expression:
    """Digits with a decimal point; groups of thousands are refused, for 1,234 may be either."""
    if mapping.decimal_separator == ",":
        return F.when(~text.contains("."), F.translate(text, ",", "."))
    return text


def _as_text(given: Expression, dtype: T.DataType) -> Expression:
    if isinstance(dtype, (T.DoubleType, T.FloatType)):
        # A column of whole ids becomes floating in pandas as soon as one is missing: 17.0 is id 17.
        # Beyond 2**53 neighbouring ids are one number; NaN is no id.
        known = F.abs(given) < F.lit(_EXACT_IN_DOUBLE)
        whole = F.when(given == F.floor(given), given.try_cast("bigint").cast("string"))
        return F.when(known, F.coalesce(whole, given.cast("string")))
    if isinstance(dtype, (T.StructType, T.ArrayType, T.MapType)):
        return F.to_json(given)
    return given.cast("string")


def _as_boolean(given: Expression, dtype: T.DataType) -> Expression:
    if isinstance(dtype, T.BooleanType):
        return given
    text = F.lower(given.cast("string"))
    return F.when(text.isin(*TRUTHS), F.lit(True)).when(text.isin(*FALSEHOODS), F.lit(False))


def _as_date(given: Expression, dtype: T.DataType, mapping: ColumnMapping, zone: str) -> Expression:
    """A day as written, or the retailer's own day of an instant."""
    if isinstance(dtype, T.DateType):
        return given
    own_day = F.from_utc_timestamp(_as_instant(given, dtype, mapping, zone), zone).cast("date")
    if isinstance(dtype, (T.TimestampType, T.TimestampNTZType)) or mapping.format in EPOCHS:
        return own_day
    text = given.cast("string")
    if mapping.format is None:
        return F.when(text.rlike(_ISO_DATE), text.try_cast("date")).otherwise(own_day)
    return own_day if set(_letters(mapping.format)) & set("HhKkms") else F.try_to_date(text, mapping.format)


def _as_instant(given: Expression, dtype: T.DataType, mapping: ColumnMapping, zone: str) -> Expression:
    """An instant: what carries an offset or is one already stays; a wall clock is read in its zone.

    A clock time that a change to summer time skips moves on by the hour skipped; of one that comes
    twice when it ends, the first is meant: Spark's ``to_utc_timestamp``.
    """
    clock_zone = mapping.zone or zone
    if isinstance(dtype, T.TimestampType):
        return given if mapping.zone is None else F.to_utc_timestamp(given, clock_zone)
    if isinstance(dtype, (T.TimestampNTZType, T.DateType)):
        return F.to_utc_timestamp(given.cast("timestamp"), clock_zone)
    text = given.cast("string")
    if mapping.format in EPOCHS:
        seconds = text.try_cast(_WIDE) / EPOCHS[mapping.format]
        return F.timestamp_seconds(F.when(seconds.between(*_EPOCH_LIMITS), seconds))
    if mapping.format is not None:
        parsed = F.try_to_timestamp(text, F.lit(mapping.format))
        has_offset = bool(set(_letters(mapping.format)) & set("XxZzVO"))
        return parsed if has_offset else F.to_utc_timestamp(parsed, clock_zone)
    parsed = F.when(text.rlike(_ISO_INSTANT), text).try_cast("timestamp")
    return F.when(text.rlike(_HAS_OFFSET), parsed).otherwise(F.to_utc_timestamp(parsed, clock_zone))


def _letters(pattern: str) -> str:
    return re.sub(r"'[^']*'|[^a-zA-Z]", "", pattern)
