"""Take in what the source has that is new, and bring it into the ledger.

Why a crash at any point does no harm, and a repeat changes nothing:

- Identities and raw texts of faulty records are appended only where their keys are missing.
- A table's new files enter bronze in one commit. A file is known by the hash of its content and of how
  it is read, so it enters once. Before that commit nothing counts as loaded; after it, it does. The number
  of records counted in the files is part of the commit: where another number arrived, the commit is undone,
  at once or, after a crash, before anything else.
- Silver takes the loads that bronze holds beyond the newest load in silver, in one merge by key. A
  crash before that merge leaves silver as it was, and the same loads are taken again; refusals,
  which are committed just before, are merged by record and end up the same.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from threading import Lock

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.identity import ERASED, IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CONSENTS,
    CUSTOMERS,
    EVENTS,
    EXPOSURES,
    ORDER_LINES,
    OVERRIDES,
    PRICES,
    PRODUCTS,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    RATINGS,
    REDEMPTIONS,
    SILVER,
)
from promo_spark.contracts.source_settings import SyntheticSource
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.contracts.truth import TRUE_EFFECTS
from promo_spark.ingest.entities import (
    conform_assignments,
    conform_consents,
    conform_customers,
    conform_events,
    conform_exposures,
    conform_overrides,
    conform_prices,
    conform_products,
    conform_promotion_products,
    conform_promotions,
    conform_ratings,
    conform_redemptions,
)
from promo_spark.ingest.order_lines import conform_order_lines
from promo_spark.ingest.outliers import learn_usual_sizes
from promo_spark.pipelines.identities import known_customer
from promo_spark.pipelines.ingest_accounts import (
    account_records,
    reconcile_sales,
    since,
    tell_equal_lines,
    tell_moved_lines,
)
from promo_spark.pipelines.ingest_loads import Load, new_loads, newest_load, offered_entities
from promo_spark.privacy.requests import id_hash
from promo_spark.runtime import Pipeline, Stage
from promo_spark.runtime.inputs import reading
from promo_spark.sources.pseudonym import ensure_key, pseudonym
from promo_spark.sources.synthetic import true_effects

_CONFORM: dict[str, Callable[..., DataFrame]] = {
    CUSTOMERS.entity: conform_customers,
    PRODUCTS.entity: conform_products,
    PROMOTIONS.entity: conform_promotions,
    PROMOTION_PRODUCTS.entity: conform_promotion_products,
    ASSIGNMENTS.entity: conform_assignments,
    REDEMPTIONS.entity: conform_redemptions,
    RATINGS.entity: conform_ratings,
    PRICES.entity: conform_prices,
    EXPOSURES.entity: conform_exposures,
    EVENTS.entity: conform_events,
    OVERRIDES.entity: conform_overrides,
    CONSENTS.entity: conform_consents,
}
_WITHOUT = {
    "customers": "segments are described, and audited for fairness, without demographics",
    "products": "every product is its own category, and margins are assumed",
    "promotions": "promotion features and the retailer's own campaigns are left out",
    "promotion_products": "it is not known which products a promotion covers",
    "assignments": "nothing is known of who was chosen for a promotion; uplift is not learnt from it",
    "redemptions": "redemption rates are unknown",
    "ratings": "what customers think of products is told by what they buy alone",
    "prices": "the effects of display and mailer are not learnt",
    "exposures": "what was assigned counts as what customers saw, for cool-downs and contact caps",
    "events": "nobody is known to have looked without buying",
    "overrides": "no manager's word on single customers is followed",
    "consents": "consent, where it is recorded, is that of the customers' own columns",
}
# One table is far wider than the others together: it keeps one core busy while they share the second.
# Categories decide what is usual in an order line, so products come before it.
_LANES = (
    (PRICES,),
    (
        *(PRODUCTS, ORDER_LINES, CUSTOMERS, PROMOTIONS, PROMOTION_PRODUCTS, ASSIGNMENTS, REDEMPTIONS, RATINGS),
        *(EXPOSURES, EVENTS, OVERRIDES, CONSENTS),
    ),
)

# What a local checkpoint keeps cannot be computed again: the loss of one worker must not lose it.
_ON_TWO_WORKERS = StorageLevel.MEMORY_AND_DISK_2


def run(stage: Stage) -> None:
    """Load new files into bronze, then new bronze rows into silver."""
    key_file = open_door(stage)
    with reading(f"source {stage.settings.source.kind}"):
        loads = new_loads(stage, key_file)
        door = Lock()
        with ThreadPoolExecutor(len(_LANES)) as pool:
            lanes = [pool.submit(_take_in, stage, tables, loads, key_file, door) for tables in _LANES]
        for lane in lanes:
            figures = lane.result()
            if figures:
                stage.metrics(figures)
    if isinstance(stage.settings.source, SyntheticSource) and loads:
        _keep_truth(stage, stage.settings.source, key_file)


def open_door(stage: Stage) -> str:
    """Say what the source does not offer, take out loads that were cut short, and find the pseudonym key.

    Returns:
        Where executors find the key.
    """
    offered = offered_entities(stage)
    for silver in SILVER:
        if silver.entity not in offered:
            stage.limitation(f"no {silver.entity}: {_WITHOUT.get(silver.entity, 'it is done without')}.")
    for silver in SILVER:
        if stage.store.undo_wrong_append(bronze_of(silver)):
            stage.progress(f"{bronze_of(silver).name}: a load cut short before was taken out, and is read again")
    return ensure_key(stage.settings.places, known=known_customer(stage))


def take_in(stage: Stage, silver: TableContract, load: Load | None) -> dict[str, float]:
    """Bring one table's new files, if any, into bronze, and what bronze holds beyond silver into silver.

    Returns:
        Figures to log.
    """
    if load is not None:
        _append_to_bronze(stage, load)
    return _bring_to_silver(stage, silver, is_new=load is not None)


def _take_in(
    stage: Stage, tables: tuple[TableContract, ...], loads: list[Load], key_file: str, door: Lock
) -> dict[str, float]:
    own = {load.silver.entity: load for load in loads if load.silver in tables}
    with door:  # the lanes write the same identity tables
        keep_identities(stage, list(own.values()), key_file)
    figures: dict[str, float] = {}
    for silver in tables:
        figures.update(take_in(stage, silver, own.get(silver.entity)))
    return figures


def keep_identities(stage: Stage, loads: list[Load], key_file: str) -> None:
    """Keep raw ids and the raw text of faulty records under the identity root, where missing."""
    named = [
        load.received.select(F.col(RAW_CUSTOMER_ID)).distinct()
        for load in loads
        if RAW_CUSTOMER_ID in load.received.columns
    ]
    if named:
        version = F.lit(stage.settings.places.key_version)
        pairs = (
            reduce(DataFrame.unionByName, named)
            .distinct()
            .select(RAW_CUSTOMER_ID, pseudonym(F.col(RAW_CUSTOMER_ID), key_file).alias("customer_id"))
            .where(F.col("customer_id").isNotNull())
        )
        stage.append_missing(IDENTITY_CUSTOMERS, pairs.withColumn("key_version", version))
    faulty = [
        load.received.where(F.size("faults") > 0).select(
            F.lit(load.silver.entity).alias("entity"),
            *(name for name in REJECTED_RAW.column_names if name != "entity"),
        )
        for load in loads
    ]
    if faulty:
        stage.append_missing(REJECTED_RAW, reduce(DataFrame.unionByName, faulty))


def _append_to_bronze(stage: Stage, load: Load) -> None:
    """Append a table's new files in one commit; the store takes it back unless every counted record arrived."""
    bronze = bronze_of(load.silver)
    numbered = load.received.withColumn("ingest_sequence", F.lit(load.number).cast("int"))
    # On shared storage another run may take in the same files, or others under the same number: one of them gives way.
    is_later = F.col("ingest_sequence") >= F.lit(load.number)
    stage.write(bronze, numbered, expected=load.expected, unless=is_later)


def _stand_in_products(stage: Stage, pending: DataFrame) -> None:
    """What was sold and nobody describes is its own category; what earlier loads sold has been seen to.

    Load 0 gives way to any description that comes later.
    """
    known = stage.store.read(PRODUCTS).select("product_id")
    sold = pending.where(F.col("product_id").isNotNull() & (F.size("faults") == 0))
    unknown = sold.join(known, "product_id", "left_anti")
    if unknown.isEmpty():
        return
    new = unknown.groupBy("product_id").agg(F.min(F.struct("source_file", "source_ordinal")).alias("_first"))
    given = {
        "product_id": F.col("product_id"),
        "category": F.col("product_id"),
        "source_file": F.col("_first.source_file"),
        "source_ordinal": F.col("_first.source_ordinal"),
        "ingest_sequence": F.lit(0),
    }
    columns = [given.get(c.name, F.lit(None).cast(c.dtype)).alias(c.name) for c in PRODUCTS.columns]
    # A merge forgets what was cached of its own table; these rows are few, and none would be new after it.
    stage.write(PRODUCTS, new.select(*columns).localCheckpoint(storageLevel=_ON_TWO_WORKERS))


def _bring_to_silver(stage: Stage, silver: TableContract, *, is_new: bool) -> dict[str, float]:
    """Merge the loads that silver does not hold yet, and account for every record."""
    bronze = bronze_of(silver)
    newest = newest_load(stage, silver)
    if not is_new and newest_load(stage, bronze) <= newest:
        return {}
    pending = since(stage.store.read(bronze), newest)
    count = pending.count()
    # A load refused as a whole leaves no trace in silver; it need not be judged again.
    if not is_new and count == since(stage.store.read(rejected_of(silver)), newest).count():
        return {}
    if silver == ORDER_LINES:
        _stand_in_products(stage, pending)
        conformed = _conform_order_lines(stage, pending)
        tell_moved_lines(stage, conformed, newest)
    else:
        conformed = _CONFORM[silver.entity](**{silver.entity: pending})
    written = stage.write(silver, conformed)
    if silver == CONSENTS and written.rejected:
        stage.limitation(
            f"{written.rejected:,} answers about consent could not be read, and are not honoured: see "
            "silver.consents_rejected, mend them at their source and bring them in again."
        )
    figures = account_records(stage, silver, newest, count, written)
    if silver != ORDER_LINES:
        return figures
    tell_equal_lines(stage, newest)
    return figures | reconcile_sales(stage, newest)


def _conform_order_lines(stage: Stage, pending: DataFrame) -> DataFrame:
    products, zone = stage.store.read(PRODUCTS), stage.settings.source.time_zone
    usual = learn_usual_sizes(
        order_lines=pending, history=stage.store.read(ORDER_LINES), products=products, time_zone=zone
    )
    # Some hundred rows that a write would learn three times over.
    known = usual.localCheckpoint(storageLevel=_ON_TWO_WORKERS)
    return conform_order_lines(order_lines=pending, usual_sizes=known, products=products, time_zone=zone)


def _keep_truth(stage: Stage, source: SyntheticSource, key_file: str) -> None:
    effects = true_effects(stage.spark, source)
    erased = stage.store.read(ERASED)
    effects = effects.join(erased, id_hash(F.col("customer_id")) == erased["id_hash"], "left_anti")
    hidden = effects.withColumn("customer_id", pseudonym(F.col("customer_id"), key_file))
    stage.append_missing(TRUE_EFFECTS, hidden)


PIPELINE = Pipeline(
    name="ingest",
    summary="Take in the source's new files: bronze as received, silver typed, deduplicated and flagged.",
    reads=(),
    writes=(*(bronze_of(table) for table in SILVER), *SILVER, IDENTITY_CUSTOMERS, REJECTED_RAW, TRUE_EFFECTS),
    run=run,
    is_dated=False,
    purpose="accounting",
)
