"""Show that nothing was lost between files, bronze and silver: in records, per file, and in money."""

from __future__ import annotations

from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.errors import ContractError, SourceError
from promo_spark.ingest.placed_lines import stand_in_line_id
from promo_spark.runtime import Stage
from promo_spark.runtime.store import Written

_WORST = 3
_FILES_SHOWN = 20
_SAME_LINE = ("basket_id", "product_id", "ordered_at", "quantity", "sales_amount")


def account_records(
    stage: Stage, silver: TableContract, newest: int, received: int, written: Written
) -> dict[str, float]:
    """Check that received = accepted + rejected, in all and per file, and tell it.

    Args:
        stage: The running stage.
        silver: The table just written.
        newest: Newest load in it before.
        received: Records taken from bronze.
        written: What the write did.

    Returns:
        Figures to log.

    Raises:
        ContractError: Something was lost or doubled.
        SourceError: Not one order line could be used.
    """
    if written.accepted + written.rejected != received:
        raise ContractError(
            f"{silver.name}: {received} records received, {written.accepted} accepted and "
            f"{written.rejected} rejected: they do not add up."
        )
    figures = {
        f"{silver.entity}_records": float(received),
        f"{silver.entity}_rejected_records": float(written.rejected),
    }
    if not written.rejected:
        return figures
    _account_files(stage, silver, newest)
    worst = _worst_reasons(stage, silver, newest)
    stage.progress(f"{silver.entity}: most rejected for: {worst}")
    if written.accepted == 0 and silver == ORDER_LINES and stage.store.read(silver).isEmpty():
        raise SourceError(
            f"not one of {received} records of {silver.entity} can be used: {worst}. Correct the mapping in "
            "the source's settings; the files are read again then."
        )
    if written.accepted == 0:
        stage.limitation(f"{silver.entity}: not one of {received} new records can be used: {worst}.")
    return figures


def reconcile_sales(stage: Stage, newest: int) -> dict[str, float]:
    """Check that the sales received = accepted + rejected, to the cent.

    Raises:
        ContractError: They differ.
    """
    total = F.coalesce(F.sum("sales_amount"), F.lit(Decimal(0)))
    parsed = F.from_json("row_json", "sales_amount decimal(18,2)")["sales_amount"]
    rejects = stage.store.read(rejected_of(ORDER_LINES)).withColumn("sales_amount", parsed)
    received, accepted, rejected = (
        since(rows, newest).agg(total).collect()[0][0]
        for rows in (stage.store.read(bronze_of(ORDER_LINES)), stage.store.read(ORDER_LINES), rejects)
    )
    if received != accepted + rejected:
        raise ContractError(f"sales do not reconcile: {received} received, {accepted} accepted, {rejected} rejected.")
    stage.progress(f"sales of {received:,} received = {accepted:,} accepted + {rejected:,} rejected")
    return {
        "sales_received_amount": float(received),
        "sales_accepted_amount": float(accepted),
        "sales_rejected_amount": float(rejected),
    }


def tell_equal_lines(stage: Stage, newest: int) -> None:
    """Say how many new lines without a line_id of their own equal lines of earlier loads.

    A file that comes again under another name, or with its lines at other places, enters a second time;
    a till that prints the same receipt number again does not repeat product, instant, quantity and amount.
    """
    if newest == 0:
        return
    lines = stage.store.read(ORDER_LINES)
    new = since(lines, newest).where(F.col("line_id") == stand_in_line_id())
    earlier = lines.where(F.col("ingest_sequence") <= newest)
    total = new.count()
    equal = new.join(earlier, list(_SAME_LINE), "left_semi").count() if total else 0
    if equal:
        stage.limitation(
            f"{equal:,} of {total:,} new order lines without a line_id equal lines of earlier loads in "
            f"{', '.join(_SAME_LINE)}: both are kept. If a file came again under another name, or with its lines in "
            "another order, its sales count twice: map a line_id, and start a new warehouse."
        )


def tell_moved_lines(stage: Stage, lines: DataFrame, newest: int) -> None:
    """Say how many new lines are about to replace one of the same basket_id and line_id on another day.

    A correction seldom moves a line to another day; a till that uses its receipt numbers again always does.

    Args:
        stage: The running stage.
        lines: The new order lines, with their order_date.
        newest: Newest load in silver before.
    """
    if newest == 0:
        return
    key = list(ORDER_LINES.key)
    held = stage.store.read(ORDER_LINES).select(*key, F.col("order_date").alias("_held_date"))
    new = lines.where(F.size("faults") == 0).select(*key, "order_date")
    moved = new.join(held, key).where(F.col("order_date") != F.col("_held_date")).count()
    if moved:
        stage.limitation(
            f"{moved:,} new order lines replace lines of the same basket_id and line_id on another day. If the source "
            "uses its basket ids again, sales are lost so: leave line_id out of the mapping, or map a basket_id that "
            "never comes up again, and start a new warehouse."
        )


def since(rows: DataFrame, newest: int) -> DataFrame:
    """Rows of the loads after one."""
    return rows.where(F.col("ingest_sequence") > newest)


def _account_files(stage: Stage, silver: TableContract, newest: int) -> None:
    """Per file: records = accepted + rejected."""
    counted = [
        since(stage.store.read(table), newest).groupBy("source_file").agg(F.count("*").alias(name))
        for name, table in (("records", bronze_of(silver)), ("accepted", silver), ("rejected", rejected_of(silver)))
    ]
    joined = counted[0].join(counted[1], "source_file", "full").join(counted[2], "source_file", "full").na.fill(0)
    wrong = joined.where("records != accepted + rejected").orderBy("source_file").limit(1).collect()
    if wrong:
        file = wrong[0]
        raise ContractError(
            f"{silver.name}: of {file.records} records of {file.source_file} {file.accepted} were accepted and "
            f"{file.rejected} rejected: they do not add up."
        )
    shown = joined.where("rejected > 0").orderBy(F.desc("rejected"), "source_file").limit(_FILES_SHOWN)
    for file in shown.collect():
        stage.progress(
            f"{file.source_file}: {file.records:,} records = {file.accepted:,} accepted + {file.rejected:,} rejected"
        )


def _worst_reasons(stage: Stage, silver: TableContract, newest: int) -> str:
    rejects = since(stage.store.read(rejected_of(silver)), newest)
    # A record's first reason is the root: an unreadable instant leaves its day and hour missing too.
    reasons = rejects.groupBy(F.get("reasons", F.lit(0)).alias("reason")).count()
    worst = reasons.orderBy(F.desc("count"), "reason").limit(_WORST).collect()
    return "; ".join(f"{row['reason']} ({row['count']:,} records)" for row in worst)
