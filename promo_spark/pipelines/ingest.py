"""Take in what the source has that is new, and bring it into the ledger.

Why a crash at any point does no harm, and a repeat changes nothing:

- Identities and raw texts of faulty records are appended only where their keys are missing.
- A table's new files enter bronze in one commit. A file is known by the hash of its content and of how
  it is read, so it enters once. Before that commit nothing counts as loaded; after it, it does.
- Silver takes the loads that bronze holds beyond the newest load in silver, in one merge by key. A
  crash before that merge leaves silver as it was, and the same loads are taken again; refusals,
  which are committed just before, are merged by record and end up the same.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    ORDER_LINES,
    PRICES,
    PRODUCTS,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
    SILVER,
)
from promo_spark.contracts.source_settings import SyntheticSource
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.contracts.truth import TRUE_EFFECTS
from promo_spark.errors import ContractError, SourceError
from promo_spark.ingest.entities import (
    conform_assignments,
    conform_customers,
    conform_prices,
    conform_products,
    conform_promotion_products,
    conform_promotions,
    conform_redemptions,
)
from promo_spark.ingest.order_lines import conform_order_lines
from promo_spark.pipelines.ingest_loads import Load, new_loads, offered_entities
from promo_spark.runtime import Pipeline, Stage
from promo_spark.runtime.inputs import reading
from promo_spark.runtime.store import Written
from promo_spark.sources.pseudonym import ensure_key, pseudonym
from promo_spark.sources.synthetic import true_effects

_CONFORM: dict[str, Callable[..., DataFrame]] = {
    CUSTOMERS.entity: conform_customers,
    PRODUCTS.entity: conform_products,
    PROMOTIONS.entity: conform_promotions,
    PROMOTION_PRODUCTS.entity: conform_promotion_products,
    ASSIGNMENTS.entity: conform_assignments,
    REDEMPTIONS.entity: conform_redemptions,
    PRICES.entity: conform_prices,
}
_WITHOUT = {
    "customers": "segments are described, and audited for fairness, without demographics",
    "products": "every product is its own category, and margins are assumed",
    "promotions": "promotion features and the retailer's own campaigns are left out",
    "promotion_products": "it is not known which products a promotion covers",
    "assignments": "nothing is known of who was chosen for a promotion; uplift is not learnt from it",
    "redemptions": "redemption rates are unknown",
    "prices": "the effects of display and mailer are not learnt",
}
_WORST = 3
# The widest table keeps one core busy while the others share the second.
_SIDE_BY_SIDE = 2


def run(stage: Stage) -> None:
    """Load new files into bronze, then new bronze rows into silver."""
    offered = offered_entities(stage)
    for silver in SILVER:
        if silver.entity not in offered:
            stage.limitation(f"no {silver.entity}: {_WITHOUT.get(silver.entity, 'it is done without')}.")
    key_file = ensure_key(stage.settings.places)
    with reading(f"source {stage.settings.source.kind}"):
        loads = new_loads(stage, key_file)
        _keep_identities(stage, loads, key_file)
        by_entity = {load.silver.entity: load for load in loads}
        wide = [PRICES]
        # Categories decide what is usual in an order line, so products come before it.
        others = [PRODUCTS, ORDER_LINES, *(table for table in SILVER if table not in (PRODUCTS, ORDER_LINES, PRICES))]
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            lanes = [pool.submit(_take_in, stage, tables, by_entity) for tables in (wide, others)]
            for lane in lanes:
                lane.result()
    if isinstance(stage.settings.source, SyntheticSource) and loads:
        _keep_truth(stage, stage.settings.source, key_file)


def _take_in(stage: Stage, tables: list[TableContract], loads: dict[str, Load]) -> None:
    for silver in tables:
        if silver.entity in loads:
            _append_to_bronze(stage, loads[silver.entity])
        _bring_to_silver(stage, silver)


def _keep_identities(stage: Stage, loads: list[Load], key_file: str) -> None:
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
        _append_missing(stage, IDENTITY_CUSTOMERS, pairs.withColumn("key_version", version))
    faulty = [
        load.received.where(F.size("faults") > 0).select(
            F.lit(load.silver.entity).alias("entity"),
            *(name for name in REJECTED_RAW.column_names if name != "entity"),
        )
        for load in loads
    ]
    if faulty:
        _append_missing(stage, REJECTED_RAW, reduce(DataFrame.unionByName, faulty))


def _append_missing(stage: Stage, contract: TableContract, rows: DataFrame) -> None:
    stage.record(contract, stage.store.append_missing(contract, rows))


def _append_to_bronze(stage: Stage, load: Load) -> None:
    """Append a table's new files in one commit, and check that every record arrived."""
    bronze = bronze_of(load.silver)
    sequence = _newest(stage, bronze) + 1
    numbered = load.received.withColumn("ingest_sequence", F.lit(sequence).cast("int"))
    written = stage.write(bronze, numbered)
    if load.counts is None:
        return
    expected = sum(load.counts.values())
    if written.accepted != expected:
        raise ContractError(
            f"{bronze.name}: {expected} records were counted in the files and {written.accepted} arrived. "
            "Did a file change while it was read? Move the table away and run again."
        )


def _bring_to_silver(stage: Stage, silver: TableContract) -> None:
    """Merge the loads that silver does not hold yet; account for every record."""
    bronze = bronze_of(silver)
    newest = _newest(stage, silver)
    if _newest(stage, bronze) <= newest:
        return
    received = stage.read(bronze)
    pending = received.where(F.col("ingest_sequence") > newest)
    count = pending.count()
    # A load refused as a whole leaves no trace in silver; it need not be judged again.
    if count == _since(_refused(stage, silver), newest).count():
        return
    if silver is ORDER_LINES:
        conformed = conform_order_lines(
            order_lines=pending,
            history=received,
            products=stage.read(PRODUCTS),
            time_zone=stage.settings.source.time_zone,
        )
    else:
        conformed = _CONFORM[silver.entity](**{silver.entity: pending})
    written = stage.write(silver, conformed)
    _account(stage, silver, newest, count, written)


def _account(stage: Stage, silver: TableContract, newest: int, count: int, written: Written) -> None:
    """Show that records = accepted + rejected, in all and per file, and the same for money."""
    if written.accepted + written.rejected != count:
        raise ContractError(
            f"{silver.name}: of {count} records {written.accepted} were accepted and {written.rejected} rejected."
        )
    stage.metrics(
        {
            f"{silver.entity}_records": float(count),
            f"{silver.entity}_rejected_records": float(written.rejected),
        }
    )
    if silver is ORDER_LINES:
        _reconcile_sales(stage, newest)
    if written.rejected:
        worst = _worst_reasons(stage, silver, newest)
        stage.progress(f"{silver.entity}: most rejected for: {worst}")
        if written.accepted == 0 and silver is ORDER_LINES and stage.read(silver).isEmpty():
            raise SourceError(
                f"not one of {count} records of {silver.entity} can be used: {worst}. Correct the mapping in "
                "the source's settings; the files are read again then."
            )
        if written.accepted == 0:
            stage.limitation(f"{silver.entity}: not one of {count} new records can be used: {worst}.")


def _reconcile_sales(stage: Stage, newest: int) -> None:
    """Received sales = accepted + rejected, to the cent."""
    total = F.coalesce(F.sum("sales_amount"), F.lit(Decimal(0)))
    parsed = F.from_json("row_json", "sales_amount decimal(18,2)")["sales_amount"]
    refused = _refused(stage, ORDER_LINES).withColumn("sales_amount", parsed)
    received, accepted, rejected = (
        _since(rows, newest).agg(total).collect()[0][0]
        for rows in (stage.read(bronze_of(ORDER_LINES)), stage.read(ORDER_LINES), refused)
    )
    if received != accepted + rejected:
        raise ContractError(f"sales do not reconcile: {received} received, {accepted} accepted, {rejected} rejected.")
    stage.metrics(
        {
            "sales_received_amount": float(received),
            "sales_accepted_amount": float(accepted),
            "sales_rejected_amount": float(rejected),
        }
    )
    stage.progress(f"sales of {received:,} received = {accepted:,} accepted + {rejected:,} rejected")


def _worst_reasons(stage: Stage, silver: TableContract, newest: int) -> str:
    reasons = _since(_refused(stage, silver), newest).select(F.explode("reasons").alias("reason"))
    worst = reasons.groupBy("reason").count().orderBy(F.desc("count"), "reason").limit(_WORST).collect()
    return "; ".join(f"{row['reason']} ({row['count']:,} records)" for row in worst)


def _refused(stage: Stage, silver: TableContract) -> DataFrame:
    return stage.store.read(rejected_of(silver))


def _since(rows: DataFrame, newest: int) -> DataFrame:
    return rows.where(F.col("ingest_sequence") > newest)


def _newest(stage: Stage, contract: TableContract) -> int:
    return int(stage.read(contract).agg(F.max("ingest_sequence")).collect()[0][0] or 0)


def _keep_truth(stage: Stage, source: SyntheticSource, key_file: str) -> None:
    effects = true_effects(stage.spark, source)
    hidden = effects.withColumn("customer_id", pseudonym(F.col("customer_id"), key_file))
    _append_missing(stage, TRUE_EFFECTS, hidden)


PIPELINE = Pipeline(
    name="ingest",
    summary="Take in the source's new files: bronze as received, silver typed, deduplicated and flagged.",
    reads=(),
    writes=(*(bronze_of(table) for table in SILVER), *SILVER, IDENTITY_CUSTOMERS, REJECTED_RAW, TRUE_EFFECTS),
    run=run,
    is_dated=False,
)
