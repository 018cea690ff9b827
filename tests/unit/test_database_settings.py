"""The grammar of tables that are read through JDBC: no SQL, no secret, no option that loads code."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from promo_spark.contracts.database_settings import DatabaseTable
from promo_spark.contracts.source_settings import TableMapping, mapping_faults
from promo_spark.runtime.input_databases import _hash, _newest_read

DATABASE: dict[str, Any] = {"url": "jdbc:postgresql://db.shop:5432/pos", "table": "sales.lines", "key": ["id"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "jdbc:postgresql://shop:secret@db/pos"}, "no address of a database"),
        ({"url": "jdbc:h2:mem:x;INIT=RUNSCRIPT FROM 'http://x'"}, "no address of a database"),
        ({"url": "jdbc:h2://db/pos"}, "no address of a database"),
        ({"url": "jdbc:postgresql://db/pos?user=shop&password=x"}, "password, user may not be set"),
        ({"url": "jdbc:postgresql://db/pos?socketFactory=a.B&socketFactoryArg=x"}, "socketFactory"),
        ({"url": "jdbc:mysql://db/pos?autoDeserialize=true"}, "autoDeserialize may not be set"),
        ({"table": "(SELECT 1) AS x"}, "no name of a table"),
        ({"table": "lines; DROP TABLE lines"}, "no name of a table"),
        ({"table": "lines WHERE 1=1"}, "no name of a table"),
        ({"table": 'a."b"" c"'}, "no name of a table"),
        ({"query": "SELECT 1"}, "Extra inputs"),
        ({"key": []}, "at least 1 item"),
        ({"overlap": 5}, "overlap needs a watermark"),
        ({"password_variable": "s3cret word!"}, "no name of an environment variable"),
        ({"parallel": {"column": "id", "lower": 0, "upper": 9, "reads": 1000}}, "less than or equal to 64"),
    ],
)
def test_what_is_no_table_of_a_database_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("(", r"\(")):
        DatabaseTable.model_validate({**DATABASE, **change})


def test_a_refused_url_is_told_without_its_options() -> None:
    with pytest.raises(ValidationError) as caught:
        DatabaseTable.model_validate({**DATABASE, "url": "jdbc:oracle:thin://db/pos?password=hunter2"})
    assert "hunter2" not in caught.value.errors(include_input=False)[0]["msg"]


def test_a_table_says_where_it_is_once() -> None:
    table = {"format": "jdbc", "database": DATABASE, "columns": {"product_id": "article"}}
    assert TableMapping.model_validate(table).place == "jdbc:postgresql://db.shop:5432/pos sales.lines"
    for change in ({"path": "x"}, {"format": "csv"}, {"database": None}):
        with pytest.raises(ValidationError, match="format jdbc takes 'database' and no 'path'"):
            TableMapping.model_validate({**table, **change})


def test_order_lines_of_a_database_have_numbers_of_their_own() -> None:
    named = {name: name for name in ("basket_id", "product_id", "ordered_at", "quantity", "sales_amount")}
    table = TableMapping.model_validate({"format": "jdbc", "database": DATABASE, "columns": named})
    (fault,) = mapping_faults("order_lines", table)
    assert "line_id is required of a database's table" in fault


def test_a_read_begins_where_the_chain_of_reads_under_the_same_mapping_ends() -> None:
    table = DatabaseTable.model_validate({**DATABASE, "watermark": "id"})

    def held(name: str, how: str = "now") -> tuple[str, str]:
        return name, _hash(name, how)

    reads = [held("sales.lines (start, 17]"), held("sales.lines (17, 4211]")]
    assert _newest_read(table, "now", []) is None
    assert _newest_read(table, "now", reads) == "4211"
    assert _newest_read(table, "now", [*reads, held("sales.lines (4211, 5000]", "before")]) == "4211"
    assert _newest_read(table, "now", [*reads, held("sales.other (4211, 5000]"), ("a.csv", "x")]) == "4211"
    assert _newest_read(table, "another", reads) is None
