"""The generated SQL of masked views, run on real tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts import TABLES
from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.masked_views import ViewSettings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES, PRODUCTS
from promo_spark.errors import StorageError
from promo_spark.runtime.store import Store
from promo_spark.runtime.view_files import write_views
from tests.conftest import MakeRows

LINEAGE = {"source_file": "f", "ingest_sequence": 1}
DAY = date(2024, 6, 3)
LINE = {
    "line_id": "1",
    "product_id": "p",
    "ordered_at": datetime(2024, 6, 3, tzinfo=UTC),
    "order_date": DAY,
    "order_hour": 0,
    "week_start_date": DAY,
    "quantity": Decimal(1),
    "sales_amount": Decimal(2),
    "is_return": False,
    "is_outlier": False,
}


@pytest.fixture
def store(spark: SparkSession, make_rows: MakeRows, tmp_path: Path) -> Store:
    made = Store(spark, warehouse=f"{tmp_path}/it's a w", identity=f"{tmp_path}/i")
    people = [
        {"customer_id": f"secret{n}", "age_band": "19-24" if n < 3 else "35-44", "region": "north", **LINEAGE}
        for n in range(30)
    ]
    lines = [{"basket_id": f"b{n}", "customer_id": f"secret{n}" if n else None, **LINE} for n in range(4)]
    for table, rows in ((CUSTOMERS, people), (ORDER_LINES, lines), (PRODUCTS, [{"product_id": "p"}])):
        numbered = [{**LINEAGE, "source_ordinal": n, **row} for n, row in enumerate(rows)]
        made._create(table)
        frame = make_rows(table, numbered)
        frame.write.format("delta").mode("append").option("mergeSchema", "false").save(made.path(table))
    return made


@pytest.fixture
def schemas(spark: SparkSession) -> Iterator[None]:
    yield
    for role in ViewSettings().roles:
        spark.sql(f"DROP SCHEMA IF EXISTS promo_spark_{role} CASCADE")


def statements_of(place: str) -> list[str]:
    text = Path(place).read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in code.split(";\n") if statement.strip()]


@pytest.mark.usefixtures("schemas")
def test_no_role_sees_a_name_and_all_see_every_row(spark: SparkSession, store: Store, tmp_path: Path) -> None:
    assert not store.exists(AFFINITY)
    assert not store.exists(IDENTITY_CUSTOMERS)
    places = write_views(spark, store, f"{tmp_path}/it's a w", ViewSettings())
    assert set(places) == {"analyst", "auditor", "marketer"}
    for role, place in places.items():
        made = statements_of(place)
        assert len(made) == 4
        for statement in made:
            spark.sql(statement)
        for table in (CUSTOMERS, ORDER_LINES, PRODUCTS):
            view = spark.table(f"promo_spark_{role}.{table.layer}_{table.entity}")
            rows = view.collect()
            assert len(rows) == store.read(table).count()
            assert "secret" not in str(rows)
            assert "north" not in str(rows)
            personal = {column.name for column in table.columns if column.personal}
            allowed = {"analyst": {"customer_id"}, "auditor": {"customer_id", "age_band"}, "marketer": set()}[role]
            shown = {name for name in view.columns if name in personal}
            assert shown <= allowed | {
                column.name for column in table.columns if column.sensitive and role == "auditor"
            }
            assert view.schema[0].metadata.get("comment") or view.schema[0].name not in personal
        grants = Path(re.sub(r"\.sql$", "_grants.sql", place)).read_text(encoding="utf-8")
        assert grants.count(f"TO `{role}`;") == 4


@pytest.mark.usefixtures("schemas")
def test_hashes_join_within_a_role_and_small_groups_are_hidden(
    spark: SparkSession, store: Store, tmp_path: Path
) -> None:
    for place in write_views(spark, store, f"{tmp_path}/it's a w", ViewSettings()).values():
        for statement in statements_of(place):
            spark.sql(statement)
    people, lines = (spark.table(f"promo_spark_auditor.silver_{name}") for name in ("customers", "order_lines"))
    assert people.join(lines, "customer_id").count() == 3
    assert lines.where("customer_id IS NULL").count() == 1
    other = spark.table("promo_spark_analyst.silver_order_lines")
    assert people.join(other, "customer_id").isEmpty()
    bands = {row.age_band: row["count"] for row in people.groupBy("age_band").count().collect()}
    assert bands == {None: 3, "35-44": 27}


def test_without_tables_nothing_is_written(spark: SparkSession, tmp_path: Path) -> None:
    store = Store(spark, warehouse=f"{tmp_path}/w", identity=f"{tmp_path}/i")
    with pytest.raises(StorageError, match="holds no tables yet"):
        write_views(spark, store, f"{tmp_path}/w", ViewSettings())
    assert not (tmp_path / "w").exists()
    assert TABLES
