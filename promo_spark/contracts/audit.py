"""What the system did: these tables only grow."""

from pyspark.sql import types as T

from promo_spark.contracts.table import Column, TableContract

STAGE_RUNS = TableContract(
    name="audit.stage_runs",
    grain="one row when a stage is about to write, and one when it has finished",
    key=("stage", "sequence"),
    columns=(
        Column("sequence", T.LongType(), "Orders the rows: later ones are greater"),
        Column("run_id", T.StringType(), "Hash of code, contracts, settings, as_of_date and inputs", required=True),
        Column("stage", T.StringType(), "Stage of the pipeline"),
        Column("as_of_date", T.DateType(), "Day the stage worked for; NULL for ingest, which serves every day"),
        Column("source", T.StringType(), "Whose data the warehouse holds: one source only", required=True),
        Column("started_at", T.TimestampType(), "When it started, UTC", required=True),
        Column("finished_at", T.TimestampType(), "When it finished, UTC; NULL in the row written before it writes"),
        Column("duration_seconds", T.DoubleType(), "Wall time", unit="seconds"),
        Column("tables", T.ArrayType(T.StringType()), "Tables it may write", required=True),
        Column(
            "basis",
            T.MapType(T.StringType(), T.StringType()),
            "What decided its tables, by name: code, versions of bronze, settings of this stage and those before it",
            required=True,
        ),
        Column("rows_written", T.MapType(T.StringType(), T.LongType()), "Rows per table"),
        Column("rows_rejected", T.MapType(T.StringType(), T.LongType()), "Refused rows per table"),
        Column(
            "table_versions",
            T.MapType(T.StringType(), T.LongType()),
            "Delta version of each table read or written",
        ),
        Column("limitations", T.ArrayType(T.StringType()), "What the data did not support, and was done without"),
        Column("metrics", T.MapType(T.StringType(), T.DoubleType()), "Figures logged"),
    ),
    mode="appended",
)

ERASURES = TableContract(
    name="audit.erasures",
    grain="one row when an erasure or a change of key begins, and one when it has finished",
    key=("request_id", "sequence"),
    columns=(
        Column("request_id", T.StringType(), "Names the request, from its first try to its end"),
        Column("sequence", T.LongType(), "Orders the rows: later ones are greater"),
        Column("purpose", T.StringType(), "erasure or rotation", required=True),
        Column("begun_at", T.TimestampType(), "When its first try began, UTC", required=True),
        Column("finished_at", T.TimestampType(), "When all was gone, UTC; NULL in the row written before"),
        Column("customer_count", T.LongType(), "Customers it is about", unit="count", required=True),
        Column(
            "rows_changed",
            T.MapType(T.StringType(), T.LongType()),
            "Rows erased, or given the new pseudonym, per table, in its last try",
        ),
        Column("files_purged", T.MapType(T.StringType(), T.LongType()), "Files removed for good, per table"),
        Column("also_removed", T.ArrayType(T.StringType()), "Lists, models and other files removed or rewritten"),
        Column("remaining", T.ArrayType(T.StringType()), "What the system cannot reach, and what to do about it"),
    ),
    checks=("purpose IN ('erasure', 'rotation')",),
    mode="appended",
)

AUDIT = (STAGE_RUNS, ERASURES)
