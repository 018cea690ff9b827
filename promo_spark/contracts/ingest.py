"""What goes from step to step within ingest and is not stored."""

from pyspark.sql import types as T

from promo_spark.contracts.table import Column, TableContract


def _size(name: str, comment: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit="ln(1 + |x|)")


USUAL_SIZES = TableContract(
    name="ingest.usual_sizes",
    grain="one row per category, measure and first day from which these limits hold",
    key=("category", "measure", "first_date"),
    columns=(
        Column("category", T.StringType(), "Product category; empty: all of them together"),
        Column("measure", T.StringType(), "quantity or sales_amount"),
        Column("first_date", T.DateType(), "First day on which the limits hold; learnt from the days before it"),
        Column("last_date", T.DateType(), "Last day on which they hold; NULL: no end"),
        _size("low_size", "Smaller ones are unusual"),
        _size("high_size", "Larger ones are unusual"),
    ),
    checks=("low_size <= high_size", "first_date <= last_date"),
    mode="passed",
)
