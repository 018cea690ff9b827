"""The grammar of sources: what is taken, what is refused, and how plainly."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from promo_spark.contracts.source_settings import (
    ColumnMapping,
    CompleteJourneySource,
    FilesSource,
    Filter,
    SourceSettings,
    SyntheticSource,
    TableMapping,
    mapping_faults,
)

COLUMNS: dict[str, Any] = {
    "basket_id": "receipt",
    "product_id": "article",
    "ordered_at": {"from": "when", "format": "dd/MM/yyyy HH:mm"},
    "quantity": "qty",
    "sales_amount": "amount",
}


def a_table(**columns: object) -> TableMapping:
    kept = {name: column for name, column in {**COLUMNS, **columns}.items() if column is not None}
    return TableMapping.model_validate({"format": "csv", "path": "x.csv", "columns": kept})


def test_a_name_is_short_for_from() -> None:
    assert a_table().columns["basket_id"] == ColumnMapping.model_validate({"from": "receipt"})


def test_line_and_customer_may_be_missing() -> None:
    assert mapping_faults("order_lines", a_table()) == []


def test_a_delta_table_needs_line_numbers_of_its_own() -> None:
    table = a_table().model_copy(update={"format": "delta"})
    (fault,) = mapping_faults("order_lines", table)
    assert "tables.order_lines.columns.line_id is required of a Delta table" in fault
    numbered = a_table(line_id="line").model_copy(update={"format": "delta"})
    assert mapping_faults("order_lines", numbered) == []


@pytest.mark.parametrize(
    ("entity", "columns", "said"),
    [
        ("orders", {}, "tables.orders: there is no such table"),
        ("order_lines", {"colour": "c"}, "tables.order_lines.columns.colour: silver.order_lines has no such"),
        ("order_lines", {"order_date": "d"}, "tables.order_lines.columns.order_date: ingest computes"),
        ("order_lines", {"source_file": "d"}, "tables.order_lines.columns.source_file: ingest computes"),
        ("order_lines", {"quantity": None}, "tables.order_lines.columns.quantity is required and not mapped"),
        ("order_lines", {"quantity": {"constant": "one"}}, "the constant 'one' is no decimal(18,3)"),
        ("order_lines", {"ordered_at": {"constant": "soon"}}, "the constant 'soon' is no timestamp"),
    ],
)
def test_a_mapping_that_does_not_fit_is_named(entity: str, columns: dict[str, Any], said: str) -> None:
    (fault,) = mapping_faults(entity, a_table(**columns))
    assert said in fault


def test_all_faults_come_at_once() -> None:
    table = {"format": "csv", "path": "x", "columns": {"nonsense": "a"}}
    with pytest.raises(ValidationError) as caught:
        FilesSource.model_validate({"kind": "files", "time_zone": "UTC", "tables": {"order_lines": table}})
    said = str(caught.value)
    for name in ("nonsense", "basket_id", "product_id", "ordered_at", "quantity", "sales_amount"):
        assert f"tables.order_lines.columns.{name}" in said


def test_order_lines_are_required() -> None:
    with pytest.raises(ValidationError, match=r"tables\.order_lines is required"):
        FilesSource.model_validate({"kind": "files", "time_zone": "UTC", "tables": {}})


@pytest.mark.parametrize("pattern", ["DD/MM/YYYY", "yyyy-mm-ddTHH:mm", "--", "epoch"])
def test_a_wrong_date_pattern_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(ValidationError, match="no date pattern"):
        ColumnMapping.model_validate({"from": "a", "format": pattern})


@pytest.mark.parametrize("pattern", ["dd.MM.yyyy", "yyyy-MM-dd'T'HH:mm:ssXXX", "epoch_seconds", "hh:mm a d/M/yy"])
def test_date_patterns(pattern: str) -> None:
    assert ColumnMapping.model_validate({"from": "a", "format": pattern}).format == pattern


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="'Mars/Olympus' is no time zone"):
        CompleteJourneySource.model_validate({"kind": "complete_journey", "time_zone": "Mars/Olympus"})


@pytest.mark.parametrize(
    ("op", "value", "said"),
    [("in", "a", "a list"), ("=", ("a", "b"), "one value"), ("is_null", 1, "no value"), ("<", None, "one value")],
)
def test_an_operator_and_its_value_must_fit(op: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Filter.model_validate({"column": "a", "op": op, "value": value})


def test_codes_that_yaml_reads_as_numbers_are_text() -> None:
    column = ColumnMapping.model_validate({"from": "a", "values": {1: "yes"}, "null_values": [0]})
    assert (column.values, column.null_values) == ({"1": "yes"}, ("0",))


def test_raw_sql_is_no_operator() -> None:
    with pytest.raises(ValidationError):
        Filter.model_validate({"column": "a", "op": "sql", "value": "1=1"})


def test_a_column_comes_from_one_place() -> None:
    for both in ({}, {"from": "a", "constant": 1}):
        with pytest.raises(ValidationError, match="either 'from'"):
            ColumnMapping.model_validate(both)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first_date": "2017-01-03"}, "no Monday"),
        ({"campaign_week": 30}, "within the 30 weeks"),
        ({"products": 30, "categories": 31}, "cannot fill"),
    ],
)
def test_a_simulated_calendar_must_hold_together(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SyntheticSource.model_validate({"kind": "synthetic", **change})


def test_the_kind_decides_which_source() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(SourceSettings)
    assert isinstance(adapter.validate_python({"kind": "synthetic"}), SyntheticSource)
    with pytest.raises(ValidationError):
        adapter.validate_python({"kind": "oracle"})
