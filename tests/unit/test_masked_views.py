"""What the SQL of masked views says of every table there is; no JVM."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from promo_spark.contracts import TABLES
from promo_spark.contracts.masked_views import RoleViews, ViewRole, ViewSettings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES

FOLDERS = {name: f"/lake/{name.replace('.', '/')}" for name in TABLES}


def views(name: str, settings: ViewSettings | None = None, **role: str) -> RoleViews:
    return RoleViews(name, ViewRole.model_validate(role), settings or ViewSettings())


def columns_of(statement: str) -> set[str]:
    """Columns of the tables that a view reads or shows, outside comments."""
    return set(re.findall(r"`([^`/]+)`", re.sub(r"'(\\.|[^'\\])*'", "", statement)))


def test_no_table_shows_what_is_marked_by_default() -> None:
    made = views("analyst", identifiers="removed").statements(FOLDERS, TABLES.values())
    assert len(made) == 1 + sum(table.layer != "identity" for table in TABLES.values())
    for table in TABLES.values():
        if table.layer == "identity":
            continue
        name = f"{table.layer}_{table.entity}"
        own = next(statement for statement in made if f"`promo_spark_analyst`.`{name}`" in statement)
        marked = {column.name for column in table.columns if column.personal or column.sensitive}
        assert columns_of(own) == set(table.column_names) - marked | {"promo_spark_analyst", name}
        assert own.endswith(f"FROM delta.`/lake/{table.layer}/{table.entity}`")


def test_identifiers_are_hashed_by_role_and_small_groups_hidden() -> None:
    (lines,) = views("analyst").statements({ORDER_LINES.name: "/l"}, TABLES.values())[1:]
    hashed = "CASE WHEN `customer_id` IS NOT NULL THEN sha2(concat_ws('|', 'analyst', `customer_id`), 256) END"
    assert f"{hashed} AS `customer_id`" in lines
    (customers,) = views("auditor", sensitive="grouped").statements({CUSTOMERS.name: "/c"}, TABLES.values())[1:]
    assert "CASE WHEN count(*) OVER (PARTITION BY `age_band`) >= 20 THEN `age_band` END AS `age_band`" in customers
    assert "`region`" not in customers
    every = views("auditor", sensitive="grouped").statements(FOLDERS, TABLES.values())
    assert "PARTITION BY `as_of_date`, `age_band`" in next(own for own in every if "`features_customers`" in own)
    # Received rows are no customers: counting them counts nobody.
    assert "`age_band`" not in next(own for own in every if "`bronze_customers`" in own)


def test_grants_and_registered_tables() -> None:
    settings = ViewSettings(tables_in="main.lake", schema_prefix="main.masked")
    own = views("analyst", settings)
    made = own.statements({ORDER_LINES.name: "/l"}, TABLES.values())
    assert made[0] == "CREATE SCHEMA IF NOT EXISTS `main`.`masked_analyst`"
    assert made[1].endswith("FROM `main`.`lake`.`silver_order_lines`")
    assert own.grants({ORDER_LINES.name}, TABLES.values()) == [
        "GRANT USAGE ON SCHEMA `main`.`masked_analyst` TO `analyst`",
        "GRANT SELECT ON VIEW `main`.`masked_analyst`.`silver_order_lines` TO `analyst`",
    ]


def test_whatever_a_path_or_comment_holds_stays_text() -> None:
    evil = replace(CUSTOMERS, grain="it's '; DROP TABLE x; --\\")
    (made,) = views("analyst").statements({CUSTOMERS.name: "/a`; DROP TABLE x; --"}, [evil])[1:]
    assert made.endswith("FROM delta.`/a``; DROP TABLE x; --`")
    assert r"COMMENT 'it\'s \'; DROP TABLE x; --\\'" in made


@pytest.mark.parametrize("name", ["", "a b", "a`b", "a;b", "A", "1a", "a\n", "a'b", "a" * 64])
def test_names_in_settings_are_names(name: str) -> None:
    for wrong in ({"roles": {name: {}}}, {"schema_prefix": name}, {"tables_in": name}):
        with pytest.raises(ValidationError):
            ViewSettings.model_validate(wrong)
