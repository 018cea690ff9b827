"""Who is to be forgotten, and how they are told again without keeping their id."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.records import RAW_CUSTOMER_ID, RAW_TEXT

ID_HASH = "id_hash"
_SALT = "promo_spark erased customer|"
# Ids are words of a record, whether or not signs such as - and / belong to them.
_BETWEEN_WORDS = r"[^\p{L}\p{N}]+"
_BETWEEN_CELLS = r"[\s,;|\"'{}\[\]:]+"
_RECORD = ("source_file_hash", "source_ordinal")


def id_hash(raw_id: Expression) -> Expression:
    """Hash by which an erased customer is told when the id comes again, whatever the pseudonym key has become."""
    return F.sha2(F.concat(F.lit(_SALT), raw_id), 256)


def requested_ids(records: DataFrame, ids: Expression) -> DataFrame:
    """The ids of a list of requests: ``raw_customer_id``, each once; blank ones are none.

    Args:
        records: The list.
        ids: Its column with the ids.
    """
    trimmed = F.trim(ids.cast("string"), F.lit(" \t\u00a0"))
    return records.select(trimmed.alias(RAW_CUSTOMER_ID)).where(F.col(RAW_CUSTOMER_ID) != "").distinct()


def mentions(*, texts: DataFrame, ids: DataFrame) -> DataFrame:
    """The records whose text holds one of the ids as a word of its own.

    Args:
        texts: Rows with ``raw_text``.
        ids: ``raw_customer_id``, few.

    Returns:
        Rows of ``texts``; each once.
    """
    ends = r"[\\p{L}\\p{N}]"
    is_word = f"raw_text rlike concat('(?<!{ends})', '\\\\Q', {RAW_CUSTOMER_ID}, '\\\\E', '(?!{ends})')"
    holds = F.expr(f"contains(raw_text, {RAW_CUSTOMER_ID}) AND {is_word}")
    return texts.join(F.broadcast(ids.select(RAW_CUSTOMER_ID)), holds, "left_semi")


def of_admitted(*, received: DataFrame, erased: DataFrame) -> DataFrame:
    """Refuse the records of erased customers at the door.

    Args:
        received: Rows of a load, with the raw customer id and the raw text beside them.
        erased: identity.erased.

    Returns:
        The other rows. Of those that name no customer and could not be read, the text is left out
        where a word of it is an erased id.
    """
    known = F.broadcast(erased.select(ID_HASH))
    others = received.withColumn(ID_HASH, id_hash(F.col(RAW_CUSTOMER_ID))).join(known, ID_HASH, "left_anti")
    nameless = others.where(F.col(RAW_CUSTOMER_ID).isNull() & F.col(RAW_TEXT).isNotNull() & (F.size("faults") > 0))
    parts = F.array_union(F.split(RAW_TEXT, _BETWEEN_WORDS), F.split(RAW_TEXT, _BETWEEN_CELLS))
    words = nameless.select(*_RECORD, F.explode(parts).alias("word"))
    telling = words.select(*_RECORD, id_hash(F.col("word")).alias(ID_HASH)).join(known, ID_HASH, "left_semi")
    told = F.broadcast(telling.select(*_RECORD).distinct().withColumn("_names_erased", F.lit(True)))
    text = F.when(F.col("_names_erased").isNull(), F.col(RAW_TEXT))
    return others.join(told, list(_RECORD), "left").withColumn(RAW_TEXT, text).select(*received.columns)


def refused_count(*, received: DataFrame, erased: DataFrame) -> int:
    """How many records of a load belong to erased customers."""
    known = F.broadcast(erased.select(ID_HASH))
    hashed = received.select(id_hash(F.col(RAW_CUSTOMER_ID)).alias(ID_HASH))
    return hashed.join(known, ID_HASH, "left_semi").count()
