"""What customers agreed to: whose answer counts on a day, and what it leaves of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.consent import Purpose, Silence, answers_in_force, keep_contactable
from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.silver import CONSENTS, CUSTOMERS, ORDER_LINES, PRODUCTS
from promo_spark.errors import HistoryError
from promo_spark.runtime.consent import Consent
from promo_spark.runtime.store import Store
from tests.conftest import MakeRows

DAY = date(2024, 6, 3)
Answer = tuple[str, str, int, bool]
Undated = Mapping[str, bool | None]


def answers(make_rows: MakeRows, *given: Answer) -> DataFrame:
    """customer, purpose, days from the as_of_date, granted."""
    rows = [
        {"customer_id": who, "purpose": what, "from_date": DAY + timedelta(days=days), "is_granted": is_granted}
        for who, what, days, is_granted in given
    ]
    return make_rows(CONSENTS, rows)


def described(make_rows: MakeRows, column: str, said: Undated) -> DataFrame:
    return make_rows(CUSTOMERS, [{"customer_id": who, column: answer} for who, answer in said.items()])


def test_the_newest_answer_until_the_day_counts(make_rows: MakeRows) -> None:
    given = answers(
        make_rows,
        ("withdrew", "personalisation", -10, True),
        ("withdrew", "personalisation", 0, False),
        ("later", "personalisation", -10, True),
        ("later", "personalisation", 1, False),
        ("back", "personalisation", -9, False),
        ("back", "personalisation", -2, True),
        ("torn", "personalisation", -2, True),
        ("torn", "personalisation", -2, False),
        ("other", "measurement", -2, False),
        ("undated", "personalisation", -2, True),
    )
    said = {"undated": False, "plain": True, "silent": None}
    found = answers_in_force(
        consents=given,
        customers=described(make_rows, "has_personalisation_consent", said),
        purpose="personalisation",
        as_of_date=DAY,
    )
    assert {row.customer_id: row.is_granted for row in found.collect()} == {
        "withdrew": False,
        "later": True,
        "back": True,
        "torn": False,
        "undated": False,
        "plain": True,
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"ann": True, "cat": False, "bob": None}, {"ann"}),  # silence is no consent
        ({"ann": True}, {"ann"}),  # nor is not being known
        ({"cat": False}, set[str]()),
        ({"ann": None}, {"ann", "bob", "cat"}),  # recorded for nobody
        ({}, {"ann", "bob", "cat"}),
    ],
)
def test_where_consent_is_recorded_for_anybody_only_who_gave_it_is_told(
    make_rows: MakeRows, spark: SparkSession, said: Undated, expected: set[str]
) -> None:
    rows = spark.createDataFrame([(name, "p") for name in ("ann", "bob", "cat")], "customer_id string, what string")
    customers = described(make_rows, "has_marketing_consent", said)
    for consents in (
        answers(make_rows, ("ann", "personalisation", -1, True)),
        answers(make_rows, ("ann", "contact", 1, False)),
    ):
        kept = keep_contactable(rows=rows, customers=customers, consents=consents, as_of_date=DAY, silence="withheld")
        assert kept.columns == rows.columns
        assert {row["customer_id"] for row in kept.collect()} == expected


GRANTED, REFUSED, SILENT = "granted", "refused", "silent"
CONTACTS: list[tuple[list[tuple[str, int, bool]], bool | None, str]] = [
    ([], None, SILENT),
    ([("contact", -5, False)], None, REFUSED),
    ([("contact", -5, True)], None, GRANTED),
    ([("contact:email", -5, False)], None, REFUSED),
    ([("contact:email", -5, True)], None, GRANTED),
    ([("contact:sms", -5, False)], None, SILENT),
    ([("contact", -5, False), ("contact:email", -4, True)], None, GRANTED),
    ([("contact", -5, False), ("contact:email", -5, True)], None, REFUSED),
    ([("contact:email", -5, True), ("contact", -4, False)], None, REFUSED),
    ([("contact:email", -5, False), ("contact", -4, True)], None, REFUSED),
    ([("contact:email", -5, False), ("contact:email", -4, True)], None, GRANTED),
    ([("contact:email", -4, False), ("contact:email", -4, True)], None, REFUSED),
    ([("contact", -5, False), ("contact:email", 1, True)], None, REFUSED),
    ([("contact", 1, False)], None, SILENT),
    ([("contact:email", -5, True)], False, REFUSED),
    ([("contact:email", -5, False)], True, REFUSED),
    ([], True, GRANTED),
    ([], False, REFUSED),
]


@pytest.mark.parametrize("silence", ["granted", "withheld"])
def test_a_refusal_stands_until_the_same_or_one_channel_of_it_is_granted(make_rows: MakeRows, silence: Silence) -> None:
    names = [f"c{number:02d}" for number in range(len(CONTACTS))]
    given = [(name, *answer) for name, (own, _, _) in zip(names, CONTACTS, strict=True) for answer in own]
    undated = {name: said for name, (_, said, _) in zip(names, CONTACTS, strict=True) if said is not None}
    rows = [{"customer_id": name, "channel": "Email"} for name in names]
    kept = keep_contactable(
        rows=make_rows(OFFERS, [*rows, {"customer_id": "nowhere"}]),
        customers=described(make_rows, "has_marketing_consent", undated),
        consents=answers(make_rows, *given),
        as_of_date=DAY,
        silence=silence,
    )
    may = {GRANTED, SILENT} if silence == "granted" else {GRANTED}
    expected = {name for name, (_, _, answer) in zip(names, CONTACTS, strict=True) if answer in may}
    assert {row.customer_id for row in kept.collect()} == expected | ({"nowhere"} if silence == "granted" else set())


def at_the_door(spark: SparkSession, folder: Path, purpose: Purpose | None, silence: Silence) -> Consent:
    store = Store(spark, warehouse=f"{folder}/w", identity=f"{folder}/i")
    return Consent(store, purpose, DAY, silence)


LINEAGE_OF_ONE = {"source_file": "f", "source_ordinal": 1, "ingest_sequence": 1}


@pytest.fixture
def lines(make_rows: MakeRows) -> DataFrame:
    rows = [{"basket_id": who or "x", "line_id": "1", "customer_id": who} for who in ("ann", "bob", "cat", None)]
    return make_rows(ORDER_LINES, rows)


def keep_answers(door: Consent, make_rows: MakeRows, *given: Answer) -> None:
    rows = [{**row.asDict(), **LINEAGE_OF_ONE} for row in answers(make_rows, *given).collect()]
    door.store.write(CONSENTS, make_rows(CONSENTS, rows))


def test_rows_go_and_lines_stay_without_their_customer(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path, lines: DataFrame
) -> None:
    tastes = make_rows(AFFINITY, [{"customer_id": who, "category": "c"} for who in ("ann", "bob", "cat")])
    door = at_the_door(spark, tmp_path, "personalisation", "granted")
    keep_answers(door, make_rows, ("bob", "personalisation", 0, False), ("cat", "measurement", 0, False))
    assert {row.customer_id for row in door.keep(AFFINITY, tastes).collect()} == {"ann", "cat"}
    unnamed = door.keep(ORDER_LINES, lines)
    assert unnamed.columns == lines.columns
    assert {row.basket_id: row.customer_id for row in unnamed.collect()} == {
        "ann": "ann",
        "bob": None,
        "cat": "cat",
        "x": None,
    }
    products = make_rows(PRODUCTS, [{"product_id": "p"}])
    assert door.keep(PRODUCTS, products) is products
    for purpose in ("accounting", None):
        assert at_the_door(spark, tmp_path, purpose, "withheld").keep(ORDER_LINES, lines) is lines
    # Nobody withdrew from this one by then: the frame is left alone, at no cost.
    early = Consent(door.store, "personalisation", DAY - timedelta(days=1), "granted")
    assert early.keep(ORDER_LINES, lines) is lines


def test_where_silence_is_no_consent_only_who_gave_it_is_named(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path, lines: DataFrame
) -> None:
    empty = at_the_door(spark, tmp_path, "measurement", "withheld")
    assert empty.keep(ORDER_LINES, lines) is lines  # asked of nobody: it cannot be honoured
    keep_answers(empty, make_rows, ("bob", "measurement", 0, False))
    with pytest.raises(HistoryError, match="nobody has granted measurement by 2024-06-03, 1 customers withhold it"):
        at_the_door(spark, tmp_path, "measurement", "withheld").keep(ORDER_LINES, lines)
    keep_answers(empty, make_rows, ("ann", "measurement", 0, True))
    door = at_the_door(spark, tmp_path, "measurement", "withheld")
    named = {row.customer_id for row in door.keep(ORDER_LINES, lines).collect()}
    assert named == {"ann", None}
    assert door.keep(ORDER_LINES, lines).count() == 4
    tastes = make_rows(AFFINITY, [{"customer_id": who, "category": "c"} for who in ("bob", "ann")])
    assert [row.customer_id for row in door.keep(AFFINITY, tastes).collect()] == ["ann"]
