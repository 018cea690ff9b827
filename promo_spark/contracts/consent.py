"""What customers agreed to: the purposes there are, and whose data serve one of them on a date."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.source_settings import Frozen
from promo_spark.contracts.table import TableContract

Purpose = Literal["personalisation", "measurement", "accounting"]
Silence = Literal["granted", "withheld"]
CUSTOMER_ID = "customer_id"
CONTACT = "contact"
OF_CHANNEL = f"{CONTACT}:"
# Of each purpose, the undated answer in silver.customers.
UNDATED = {
    "personalisation": "has_personalisation_consent",
    "measurement": "has_measurement_consent",
    CONTACT: "has_marketing_consent",
}


class Missing(Frozen):
    """What it means that a customer said nothing, where others did."""

    personalisation: Silence = Field(default="granted", description="To be in features, models, segments and plans")
    measurement: Silence = Field(default="granted", description="To be in indicators, experiments and audits")
    contact: Silence = Field(default="withheld", description="To be sent promotions")


class ConsentSettings(Frozen):
    """How consent is understood (``silver.consents``, and the columns ``has_…_consent`` of ``silver.customers``)."""

    missing: Missing = Missing()


def names_customers(contract: TableContract) -> bool:
    """Whether rows of a table are about single customers."""
    return any(column.name == CUSTOMER_ID and column.personal for column in contract.columns)


def answers_in_force(*, consents: DataFrame, customers: DataFrame, purpose: str, as_of_date: date) -> DataFrame:
    """Find what customers say to a purpose on a date.

    The newest answer dated until then counts, of two of one day the refusal. A refusal in silver.customers, which
    has no date, stands against any.

    Args:
        consents: silver.consents.
        customers: silver.customers.
        purpose: A purpose of use, or contact.
        as_of_date: Answers given for this day or before it count.

    Returns:
        customer_id, is_granted: a row for each customer who answered.
    """
    asked = consents.where((F.col("purpose") == purpose) & (F.col("from_date") <= F.lit(as_of_date)))
    dated = asked.groupBy(CUSTOMER_ID).agg((~_newest_answer()["is_refused"]).alias("is_granted"))
    undated = customers.select(CUSTOMER_ID, F.col(UNDATED[purpose]).alias("is_granted"))
    said = dated.unionByName(undated.where(F.col("is_granted").isNotNull()))
    return said.groupBy(CUSTOMER_ID).agg(F.bool_and("is_granted").alias("is_granted"))


def keep_contactable(
    *, rows: DataFrame, customers: DataFrame, consents: DataFrame, as_of_date: date, silence: Silence
) -> DataFrame:
    """Drop whom marketing may not be sent, or not through the row's channel.

    A refusal of all contact stands until contact, or one channel of it, is granted on a later day; a refusal of one
    channel until that channel is. A refusal in silver.customers, which has no date, stands against any.

    Args:
        rows: With customer_id; where they have a channel, consent to it counts too.
        customers: silver.customers.
        consents: silver.consents.
        as_of_date: Answers given for this day or before it count.
        silence: What it means to have said nothing, where anybody answered: granted or withheld.

    Returns:
        The rows that remain.
    """
    given = consents.where(F.col("from_date") <= F.lit(as_of_date))
    newest = _newest_answer()
    undated = customers.select(CUSTOMER_ID, F.col(UNDATED[CONTACT]).alias("_undated")).where(
        F.col("_undated").isNotNull()
    )
    of_all = given.where(F.col("purpose") == CONTACT).groupBy(CUSTOMER_ID).agg(newest.alias("_all"))
    general = of_all.join(undated, CUSTOMER_ID, "full")
    answered = general.select(F.lit(True).alias("_is_recorded"))
    marked = rows.join(general, CUSTOMER_ID, "left")
    own = F.lit(None).cast("struct<from_date:date,is_refused:boolean>")
    if "channel" in rows.columns:
        named = given.where(F.col("purpose").startswith(OF_CHANNEL))
        channel = F.lower(F.substring("purpose", len(OF_CHANNEL) + 1, 1_000))
        by_channel = named.groupBy(CUSTOMER_ID, channel.alias("_channel")).agg(newest.alias("_own"))
        answered = answered.unionByName(by_channel.select(F.lit(True).alias("_is_recorded")))
        marked = marked.withColumn("_channel", F.lower("channel")).join(by_channel, [CUSTOMER_ID, "_channel"], "left")
        own = F.col("_own")
    marked = marked.join(F.broadcast(answered.limit(1)), how="left")
    silent = F.lit(silence == "granted") | F.col("_is_recorded").isNull()
    told = marked.where(F.coalesce(_may_contact(F.col("_undated"), F.col("_all"), own), silent))
    return told.select(*rows.columns)


def _newest_answer() -> Expression:
    """Of a group of answers the newest, of two of one day the refusal: from_date, is_refused."""
    return F.max(F.struct("from_date", (~F.col("is_granted")).alias("is_refused")))


def _may_contact(undated: Expression, of_all: Expression, own: Expression) -> Expression:
    """True or false as was said last; NULL where nothing was."""
    is_refused = (
        F.coalesce(~undated, F.lit(False))
        | F.coalesce(own["is_refused"], F.lit(False))
        | F.coalesce(
            of_all["is_refused"] & (own["from_date"].isNull() | (of_all["from_date"] >= own["from_date"])),
            F.lit(False),
        )
    )
    is_said = undated.isNotNull() | of_all.isNotNull() | own.isNotNull()
    return F.when(is_refused, F.lit(False)).when(is_said, F.lit(True))
