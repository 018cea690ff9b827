"""What every declared table must satisfy; a new one joins by being declared."""

from pathlib import Path

import pytest
from pyspark.sql import types as T

from promo_spark.contracts import TABLES
from promo_spark.contracts.dictionary import dictionary
from promo_spark.contracts.table import Column, TableContract, rejected_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
class TestEveryTable:
    def test_says_what_it_is(self, table: TableContract) -> None:
        assert table.grain
        assert all(column.comment for column in table.columns)

    def test_customer_columns_are_personal(self, table: TableContract) -> None:
        marked = {column.name for column in table.columns if column.personal}
        named = set(table.column_names) & {"customer_id", "raw_customer_id", "raw_text"}
        assert named <= marked

    def test_sensitive_columns_are_personal(self, table: TableContract) -> None:
        assert all(column.personal for column in table.columns if column.sensitive)

    def test_rows_about_a_person_can_be_found_again(self, table: TableContract) -> None:
        personal = [column for column in table.columns if column.personal]
        ids = [column.name for column in personal if column.name.endswith("_id") and column.dtype == T.StringType()]
        # Raw texts are found by the record they were, the list of the erased is what they are found by.
        assert ids or not personal or table.name in {"identity.rejected_raw", "identity.erased"}

    def test_rejects_have_a_place_without_personal_columns(self, table: TableContract) -> None:
        quarantine = rejected_of(table)
        assert "reasons" in quarantine.column_names
        assert not any(column.personal for column in quarantine.columns)


def test_dictionary_is_up_to_date() -> None:
    assert (ROOT / "docs/tables.md").read_text(encoding="utf-8") == dictionary(), "run 'make docs'"


def test_faults_of_a_declaration_are_named_together() -> None:
    column = Column("a", T.StringType(), "a")
    faults = r"a is declared twice; key column b is not declared; .*as_of_date"
    with pytest.raises(ValueError, match=faults) as fault:
        TableContract("x.y", "a row", ("b",), (column, column))
    assert str(fault.value).startswith("x.y: ")
