"""What the system did: these tables only grow."""

from pyspark.sql import types as T

from promo_spark.contracts.table import Column, TableContract

STAGE_RUNS = TableContract(
    name="audit.stage_runs",
    grain="one row per stage that finished in a run",
    key=("run_id", "stage"),
    columns=(
        Column("run_id", T.StringType(), "Hash of code, contracts, settings, as_of_date and inputs"),
        Column("stage", T.StringType(), "Stage of the pipeline"),
        Column("as_of_date", T.DateType(), "Day the run decides for", required=True),
        Column("finished_at", T.TimestampType(), "When it finished, UTC", required=True),
        Column("duration_seconds", T.DoubleType(), "Wall time", unit="seconds"),
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

AUDIT = (STAGE_RUNS,)
