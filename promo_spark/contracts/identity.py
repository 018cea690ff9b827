"""Raw identities: kept under a root of their own, read only at the door and for export or erasure."""

from pyspark.sql import types as T

from promo_spark.contracts.table import Column, TableContract

IDENTITY_CUSTOMERS = TableContract(
    name="identity.customers",
    grain="one row per raw customer id and key version",
    key=("raw_customer_id", "key_version"),
    columns=(
        Column("raw_customer_id", T.StringType(), "The retailer's own customer id", personal=True),
        Column(
            "customer_id",
            T.StringType(),
            "Keyed pseudonym (HMAC-SHA-256, 128 bits)",
            required=True,
            personal=True,
        ),
        Column("key_version", T.IntegerType(), "Version of the key that made the pseudonym"),
    ),
    mode="appended",
)

REJECTED_RAW = TableContract(
    name="identity.rejected_raw",
    grain="one record that could not be read as it should",
    key=("entity", "source_file_hash", "source_ordinal"),
    columns=(
        Column("entity", T.StringType(), "Table the record was meant for"),
        Column("source_file", T.StringType(), "File the record came from", required=True),
        Column("source_file_hash", T.StringType(), "SHA-256 of the file"),
        Column("source_ordinal", T.LongType(), "Position in the file, from 1"),
        Column("faults", T.ArrayType(T.StringType()), "Why it could not be read", required=True),
        Column("raw_text", T.StringType(), "The record as received", personal=True),
    ),
    mode="appended",
)

ERASED = TableContract(
    name="identity.erased",
    grain="one row per erased customer, so that a file that comes again does not bring them back",
    key=("id_hash",),
    columns=(
        Column(
            "id_hash", T.StringType(), "Hash of the raw id: tells an id that is known, gives none away", personal=True
        ),
        Column("request_id", T.StringType(), "Request in audit.erasures", required=True),
    ),
    mode="appended",
)

IDENTITY = (IDENTITY_CUSTOMERS, REJECTED_RAW, ERASED)
