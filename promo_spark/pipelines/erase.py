"""Forget customers: their rows in every table, old versions, lists and models; then tell what remains.

Why a crash at any point does no harm, and a repeat changes nothing:

- What is begun is noted first, and nothing else runs until it has finished.
- A table that others lead to a customer by (bronze by file and position, ``identity.customers`` by raw id) is cleared
  after those that need it, so that a second try finds what the first did not reach.
- Every step can be taken twice: deleting finds nothing more, and purging removes only what no version needs.
"""

from __future__ import annotations

from functools import reduce

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts import BRONZE
from promo_spark.contracts.audit import ERASURES
from promo_spark.contracts.identity import ERASED, IDENTITY_CUSTOMERS
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.contracts.source_settings import ColumnMapping, TableMapping
from promo_spark.errors import ErasureError, PromoSparkError, SettingsError, SourceError
from promo_spark.pipelines.erase_tables import erase_table, in_safe_order, is_found
from promo_spark.pipelines.identities import known_customer
from promo_spark.privacy.requests import id_hash, requested_ids
from promo_spark.runtime import Pipeline, Stage
from promo_spark.runtime.erased_lists import forget_in_lists
from promo_spark.runtime.erasures import ERASURE, Findings, Request, begin, finish, open_request
from promo_spark.runtime.kept_models import remove_kept_models, remove_logged_models
from promo_spark.runtime.places import is_local
from promo_spark.runtime.sweep import StoredTable, erase_rows, purge, stored_tables, unknown_entries
from promo_spark.sources.pseudonym import ensure_key, pseudonym

CUSTOMER_ID = "customer_id"
_BEYOND = (
    "the source's own files: take the customers out there as well; records that come again are refused at the door",
    "backups and copies of the warehouse, of the identity root and of MLflow: erase them, or let them expire",
    "lists that other systems already have: ask them to erase",
    "reports, measurements and other models: sums over many customers, as they were; the next run makes them anew",
)


def run(stage: Stage) -> None:
    """Erase the customers of ``erase.requests``, or go on with an erasure that was cut short."""
    require_no_other_run(stage)
    if not stage.store.exists(IDENTITY_CUSTOMERS):
        raise SourceError(f"{stage.settings.places.identity} knows no customers: no source was taken in there.")
    if stage.settings.erase.readmit is not None:
        _readmit(stage, _listed_ids(stage, stage.settings.erase.readmit))
    requested = _requested(stage)
    if requested is None:
        return
    for bronze in BRONZE:
        stage.store.undo_wrong_append(bronze)  # purging leaves nothing by which a load cut short could be told
    tables = in_safe_order(stored_tables(stage.spark, roots(stage)))
    subjects = _subjects(stage, requested)
    if _was_done(stage, requested) and not is_found(stage.spark, tables, subjects):
        stage.progress("nothing to do: these customers were erased before, and no table holds them")
        return
    request = begin(stage.store, ERASURE, requested.count())
    noted = requested.select(id_hash(F.col(RAW_CUSTOMER_ID)).alias("id_hash"))
    stage.append_missing(ERASED, noted.withColumn("request_id", F.lit(request.request_id)))
    findings = Findings(remaining=[*_strangers(stage, requested, request), *_BEYOND])
    for table in tables:
        _clear(stage, table, tables, subjects, findings)
    _clear_files(stage, subjects, findings)
    _clear_identities(stage, tables, subjects, findings)
    tell(stage, findings)
    refuse_leftovers(findings)
    finish(stage.store, request, findings)
    stage.metrics(
        {"erased_customers": float(request.customer_count), "erased_rows": float(sum(findings.rows.values()))}
    )


def require_no_other_run(stage: Stage) -> None:
    """What purges tables must be alone: a lock says so on a local disk, the user elsewhere.

    Raises:
        SettingsError: Nobody said so.
    """
    if not is_local(stage.settings.places.warehouse) and not stage.settings.erase.no_other_run:
        raise SettingsError(
            f"no lock keeps other runs out of {stage.settings.places.warehouse}, and a file that another run is about "
            "to commit would be purged. See that nothing else runs, then set erase.no_other_run=true."
        )


def refuse_leftovers(findings: Findings) -> None:
    """Fail where something could not be reached.

    Raises:
        ErasureError: Names each.
    """
    if findings.problems:
        listed = "\n".join(f"  - {problem}" for problem in findings.problems)
        raise ErasureError(
            f"not all could be erased; what is listed still holds customers:\n{listed}\nPut it right and run the job "
            "again: it goes on, and nothing else runs on this warehouse before it has finished."
        )


def tell(stage: Stage, findings: Findings) -> None:
    """Say table by table what went, and what remains."""
    for name in sorted({*findings.rows, *findings.files}):
        stage.progress(f"{name}: {findings.rows.get(name, 0):,} rows, {findings.files.get(name, 0):,} files purged")
    for told in findings.removed:
        stage.progress(told)
    for told in findings.remaining:
        stage.progress(f"remains: {told}")


def roots(stage: Stage) -> tuple[str, ...]:
    """Where tables lie."""
    return stage.settings.places.warehouse, stage.settings.places.identity


def _listed_ids(stage: Stage, path: str) -> DataFrame:
    """The ids in a file of the user's.

    Raises:
        SourceError: A line cannot be read or holds no id: a request would be lost.
    """
    column = stage.settings.erase.column
    mapping = TableMapping(format="csv", path=path, columns={CUSTOMER_ID: ColumnMapping(constant=column)})
    records = stage.open_records(mapping, (column,)).localCheckpoint()
    named = F.col("record").getField(column)
    lost = records.where(F.col("is_malformed") | F.coalesce(F.trim(named) == "", F.lit(True))).count()
    if lost:
        raise SourceError(f"{path}: {lost:,} lines hold no id in column {column}. Correct the file; nothing was done.")
    return requested_ids(records, named).localCheckpoint()


def _requested(stage: Stage) -> DataFrame | None:
    """Raw ids of who is to be erased: those listed, and those an unfinished erasure had noted.

    Raises:
        SettingsError: There are neither, and nobody is readmitted; or the unfinished one noted nobody.
    """
    path = stage.settings.erase.requests
    listed = [] if path is None else [_listed_ids(stage, path)]
    request = open_request(stage.store)
    if request is not None:
        erased = stage.read(ERASED)
        if path is None and erased.where(F.col("request_id") == F.lit(request.request_id)).isEmpty():
            raise SettingsError(
                "the erasure begun before was cut short before it had noted whom: name its file in erase.requests."
            )
        known = stage.store.read(IDENTITY_CUSTOMERS).select(RAW_CUSTOMER_ID).distinct()
        hashed = known.withColumn("id_hash", id_hash(F.col(RAW_CUSTOMER_ID)))
        noted = hashed.join(erased, "id_hash", "left_semi")
        listed.append(noted.select(RAW_CUSTOMER_ID).localCheckpoint())
    if not listed and stage.settings.erase.readmit is None:
        raise SettingsError(
            "erase.requests: name the CSV file that lists who is to be erased in its column customer_id (erase.column)."
        )
    return reduce(DataFrame.union, listed).distinct().localCheckpoint() if listed else None


def _subjects(stage: Stage, requested: DataFrame) -> DataFrame:
    """Raw ids with every pseudonym they have: those on record, and what the present key makes of them."""
    key_file = ensure_key(stage.settings.places, known=known_customer(stage))
    recorded = stage.store.read(IDENTITY_CUSTOMERS).select(RAW_CUSTOMER_ID, CUSTOMER_ID)
    made = requested.select(RAW_CUSTOMER_ID, pseudonym(F.col(RAW_CUSTOMER_ID), key_file).alias(CUSTOMER_ID))
    known = recorded.join(requested, RAW_CUSTOMER_ID, "left_semi")
    return known.union(made).distinct().localCheckpoint()


def _strangers(stage: Stage, requested: DataFrame, request: Request) -> list[str]:
    """How many of those listed nobody knows, nor knew: a slip in an id must not pass for an erasure."""
    known = stage.store.read(IDENTITY_CUSTOMERS).select(RAW_CUSTOMER_ID)
    erased_before = stage.read(ERASED).where(F.col("request_id") != F.lit(request.request_id))
    unknown = requested.join(known, RAW_CUSTOMER_ID, "left_anti")
    hashed = unknown.select(id_hash(F.col(RAW_CUSTOMER_ID)).alias("id_hash"))
    count = hashed.join(erased_before, "id_hash", "left_anti").count()
    told = f"{count:,} of {requested.count():,} listed ids, which no file ever brought: check how they are written"
    return [told] if count else []


def _was_done(stage: Stage, requested: DataFrame) -> bool:
    if open_request(stage.store) is not None:
        return False
    hashes = requested.select(id_hash(F.col(RAW_CUSTOMER_ID)).alias("id_hash"))
    return hashes.join(stage.read(ERASED), "id_hash", "left_anti").isEmpty()


def _readmit(stage: Stage, ids: DataFrame) -> None:
    """Who came back is taken in again from the next load on."""
    hashes = ids.select(id_hash(F.col(RAW_CUSTOMER_ID)).alias("id_hash"))
    count = 0
    if stage.store.exists(ERASED):
        path = stage.store.path(ERASED)
        count = erase_rows(stage.spark, path, hashes, {"id_hash": "id_hash"})
        purge(stage.spark, path)
    stage.progress(f"{count:,} customers may be taken in again; files taken in before are not read again")


def _clear(
    stage: Stage, table: StoredTable, tables: list[StoredTable], subjects: DataFrame, findings: Findings
) -> None:
    """Erase from one table and purge it; a fault is noted, and the others still get their turn."""
    if table.name in {IDENTITY_CUSTOMERS.name, ERASED.name} or not table.is_personal:
        return
    try:
        findings.rows[table.name] = erase_table(stage.spark, table, tables, subjects)
        findings.files[table.name] = purge(stage.spark, table.path)
    except PySparkException as fault:
        findings.problems.append(f"{table.name} at {table.path}: {type(fault).__name__} {fault.getCondition() or ''}")
        return
    if not (table.is_quarantine or table.pseudonym_columns or "raw_text" in table.texts):
        findings.problems.append(f"{table.name} at {table.path}: no column tells whose its rows are")


def _clear_files(stage: Stage, subjects: DataFrame, findings: Findings) -> None:
    """Lists, models, and what lies beside them."""
    places = stage.settings.places
    try:
        done, unknown = forget_in_lists(stage.spark, places.identity, subjects.select(RAW_CUSTOMER_ID).distinct())
        findings.removed += done
        findings.removed += remove_kept_models(stage.spark, places.warehouse)
        findings.removed += remove_logged_models(stage.settings.tracking.experiment)
    except (PromoSparkError, PySparkException) as fault:
        findings.problems.append(str(fault).splitlines()[0])
        return
    unknown += unknown_entries(stage.spark, places.warehouse, places.identity, places.key_file)
    findings.remaining += [f"{place}: not made by this system, not looked into" for place in unknown]


def _clear_identities(stage: Stage, tables: list[StoredTable], subjects: DataFrame, findings: Findings) -> None:
    """The raw ids themselves, once nothing else is left to be found by them."""
    if findings.problems:
        return
    table = next(table for table in tables if table.name == IDENTITY_CUSTOMERS.name)
    ids = subjects.select(RAW_CUSTOMER_ID).distinct()
    findings.rows[table.name] = erase_rows(stage.spark, table.path, ids, {RAW_CUSTOMER_ID: RAW_CUSTOMER_ID})
    findings.files[table.name] = purge(stage.spark, table.path)


PIPELINE = Pipeline(
    name="erase",
    summary="Erase customers from every table, list and model, old versions included; say what remains.",
    reads=(),
    writes=(ERASED, ERASURES),
    run=run,
    is_dated=False,
)
