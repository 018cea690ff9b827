"""Change the pseudonym key for good: each pseudonym gives way to the one that the new key makes of the same raw id.

Who was one customer before is one after: tables keep their rows, and what old versions hold under the old pseudonyms
is purged. The new key is the one that ``places.key_file`` and ``places.key_version`` name. A crash at any point does
no harm: a table changes in one commit, a second try finds the old pseudonyms that are left, and the raw ids keep both
until the end. Nothing else runs in between.
"""

from __future__ import annotations

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.audit import ERASURES
from promo_spark.contracts.identity import ERASED, IDENTITY_CUSTOMERS
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.errors import SettingsError, SourceError
from promo_spark.pipelines.erase import CUSTOMER_ID, refuse_leftovers, require_no_other_run, roots, tell
from promo_spark.runtime import Pipeline, Stage
from promo_spark.runtime.erasures import ROTATION, Findings, begin, finish, open_request
from promo_spark.runtime.sweep import StoredTable, change_values, erase_rows, purge, rows_of, stored_tables
from promo_spark.sources.pseudonym import ensure_key, pseudonym, pseudonym_of, read_key

_OLD, _NEW, _VERSION = "old_id", "new_id", "key_version"
_BEYOND = (
    "the old key: destroy it, with every copy; whoever has it can make the old pseudonyms",
    "backups and copies of the warehouse, which hold the old pseudonyms",
)


def run(stage: Stage) -> None:
    """Give every customer the pseudonym of the present key version, and purge the earlier ones."""
    require_no_other_run(stage)
    version = F.lit(stage.settings.places.key_version)
    identities = stage.read(IDENTITY_CUSTOMERS)
    earlier = identities.where(F.col(_VERSION) != version)
    if identities.isEmpty():
        raise SourceError(f"{stage.settings.places.identity} knows no customers: there is no pseudonym to change.")
    if earlier.isEmpty() and open_request(stage.store) is None:
        stage.progress(f"nothing to do: all pseudonyms are of key version {stage.settings.places.key_version}")
        return
    key_file = _new_key(stage, identities)
    raw_ids = identities.select(RAW_CUSTOMER_ID).distinct()
    request = begin(stage.store, ROTATION, raw_ids.count())
    made = raw_ids.withColumn(CUSTOMER_ID, pseudonym(F.col(RAW_CUSTOMER_ID), key_file)).withColumn(_VERSION, version)
    stage.append_missing(IDENTITY_CUSTOMERS, made)
    findings = Findings(remaining=list(_BEYOND))
    pairs = _pairs(stage)
    for table in stored_tables(stage.spark, roots(stage)):
        _change(stage, table, pairs, findings)
    refuse_leftovers(findings)
    _forget_earlier(stage, findings)
    tell(stage, findings)
    finish(stage.store, request, findings)
    stage.metrics({"rekeyed_rows": float(sum(findings.rows.values()))})


def _new_key(stage: Stage, identities: DataFrame) -> str:
    """The key file of the present version, which must not be a key that made earlier pseudonyms.

    Raises:
        SettingsError: It is; or it is not the one that an interrupted change began with.
    """
    places = stage.settings.places
    present = F.col(_VERSION) == F.lit(places.key_version)
    begun = identities.where(present).select(RAW_CUSTOMER_ID, CUSTOMER_ID).first()
    key_file = ensure_key(places, known=None if begun is None else (begun[0], begun[1]))
    before = identities.where(~present).select(RAW_CUSTOMER_ID, CUSTOMER_ID).first()
    if before is not None and pseudonym_of(before[0], read_key(key_file)) == before[1]:
        raise SettingsError(
            f"places.key_version is {places.key_version}, and the key is still the one that made the earlier "
            "pseudonyms. Name a new file in places.key_file (it is made if it does not exist) or set a new "
            "PROMO_SPARK_KEY."
        )
    return key_file


def _pairs(stage: Stage) -> DataFrame:
    """Each earlier pseudonym beside the one that takes its place."""
    identities = stage.store.read(IDENTITY_CUSTOMERS)
    is_new = F.col(_VERSION) == F.lit(stage.settings.places.key_version)
    old = identities.where(~is_new).select(RAW_CUSTOMER_ID, F.col(CUSTOMER_ID).alias(_OLD))
    new = identities.where(is_new).select(RAW_CUSTOMER_ID, F.col(CUSTOMER_ID).alias(_NEW))
    return old.join(new, RAW_CUSTOMER_ID).select(_OLD, _NEW).distinct().localCheckpoint()


def _change(stage: Stage, table: StoredTable, pairs: DataFrame, findings: Findings) -> None:
    """Change one table and purge it; a fault is noted, and the others still get their turn."""
    if table.name in {IDENTITY_CUSTOMERS.name, ERASED.name} or not (table.is_personal and table.pseudonym_columns):
        return
    try:
        findings.rows[table.name] = sum(
            change_values(stage.spark, table.path, pairs, {column: _OLD}, {column: f"s.{_NEW}"})
            for column in table.pseudonym_columns
        )
        findings.files[table.name] = purge(stage.spark, table.path)
        strangers = _strangers(stage, table)
    except PySparkException as fault:
        findings.problems.append(f"{table.name} at {table.path}: {type(fault).__name__} {fault.getCondition() or ''}")
        return
    if strangers:
        findings.remaining.append(
            f"{table.name}: {strangers:,} rows whose pseudonym is of no customer in identity.customers, as they were"
        )


def _strangers(stage: Stage, table: StoredTable) -> int:
    if table.contract is None or CUSTOMER_ID not in table.columns:
        return 0
    identities = stage.store.read(IDENTITY_CUSTOMERS)
    known = identities.where(F.col(_VERSION) == F.lit(stage.settings.places.key_version)).select(CUSTOMER_ID)
    named = rows_of(stage.spark, table.path).where(F.col(CUSTOMER_ID).isNotNull()).select(CUSTOMER_ID)
    return named.join(known, CUSTOMER_ID, "left_anti").count()


def _forget_earlier(stage: Stage, findings: Findings) -> None:
    """The earlier pseudonyms beside the raw ids, once no table needs them."""
    path = stage.store.path(IDENTITY_CUSTOMERS)
    versions = rows_of(stage.spark, path).select(_VERSION).distinct()
    earlier = versions.where(F.col(_VERSION) != F.lit(stage.settings.places.key_version)).localCheckpoint()
    findings.rows[IDENTITY_CUSTOMERS.name] = erase_rows(stage.spark, path, earlier, {_VERSION: _VERSION})
    findings.files[IDENTITY_CUSTOMERS.name] = purge(stage.spark, path)


PIPELINE = Pipeline(
    name="rotate_key",
    summary="Give every customer the pseudonym of a new key, in every table; purge the earlier pseudonyms.",
    reads=(),
    writes=(IDENTITY_CUSTOMERS, ERASURES),
    run=run,
    is_dated=False,
)
