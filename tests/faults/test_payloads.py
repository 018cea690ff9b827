"""Settings, names and files cannot run code, leave their root, or become markup, formulas or forged lines."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.segments import SEGMENT_PROFILES
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SettingsError, SourceError
from promo_spark.report.page import Heading, render_pages
from promo_spark.runtime import tracking
from promo_spark.runtime.exports import write_list
from promo_spark.runtime.inputs import list_files, open_records
from promo_spark.runtime.logs import configure_logs, one_event
from promo_spark.runtime.settings import load_settings
from promo_spark.sources.mapping import map_records, needed_columns
from tests.faults.conftest import Shown
from tests.faults.payloads import CODE_IN_SPARK, FORMULAS, HIDDEN, MARKUP, PATHS, PATTERNS, SQL, YAML
from tests.unit.measured_pages import measured_of_nothing
from tests.unit.test_report_page import DAY, PROFILE, frame, plan_row, whole_evidence

pytestmark = [pytest.mark.promise("settings cannot run code or leave their root")]
OFFERS = "offers:\n  - {offer_id: ten_off, name: Ten, mechanic: percent_off, depth_rate: 0.1, channel: app}\n"
BASE = "as_of_date: 2017-10-30\nsource: {kind: synthetic}\n"
NAMES: tuple[tuple[str, ...], ...] = (
    ("tracking", "experiment"),
    ("currency",),
    ("plan", "promotions_file"),
    ("include",),
)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of settings, and the working directory; no payload may have left a file there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "promotions.yaml").write_text(OFFERS)
    yield tmp_path
    assert not (tmp_path / "RAN").exists()


def load(conf: Path, text: str, *overrides: str) -> Settings:
    (conf / "own.yaml").write_text(text)
    return load_settings([conf / "own.yaml"], overrides)


def refused(conf: Path, text: str, *overrides: str) -> str:
    with pytest.raises(SettingsError) as fault:
        load(conf, text, *overrides)
    said = str(fault.value)
    assert len(said) < 2000
    assert not [sign for sign in said if not sign.isprintable() and sign != "\n"]
    assert all(line.startswith("  - ") for line in said.splitlines()[1:])
    return said


def nested(keys: tuple[str, ...], value: object) -> dict[str, Any]:
    tree: Any = value
    for key in reversed(keys):
        tree = {key: tree}
    return {"as_of_date": "2017-10-30", "source": {"kind": "synthetic"}, **tree}


def test_paths_are_no_names(conf: Path, shown: Shown) -> None:
    for path in PATHS:
        for keys in NAMES:
            refused(conf, yaml.safe_dump(nested(keys, path)))
        design = {"arms": {"none": 0.5, "x": 0.5}, "start_date": "2017-11-06", "end_date": "2017-12-03", "name": path}
        refused(conf, yaml.safe_dump(nested(("experiments", "designs"), [design])))
        offer = {"offer_id": path, "name": "x", "mechanic": "percent_off", "depth_rate": 0.1, "channel": "app"}
        refused(conf, yaml.safe_dump(nested(("promotions", "offers"), [offer])))
    shown(len(PATHS), "payloads")


def test_yaml_makes_plain_values_only(conf: Path, shown: Shown) -> None:
    for text in YAML:
        for written, overrides in ((f"{BASE}report:\n  title: {text}\n", ()), (BASE, (f"report.title={text}",))):
            if text.startswith("!!binary"):
                assert load(conf, written, *overrides).report.title == "b'hello'"
            else:
                refused(conf, written, *overrides)
    shown(len(YAML), "payloads")


def test_hidden_characters_are_refused(conf: Path, shown: Shown) -> None:
    for text in HIDDEN:
        said = refused(conf, f"{BASE}report:\n  title: {json.dumps(text)}\n")
        assert "report.title" in said
        refused(conf, f"{BASE}report:\n  ? {json.dumps(text)}\n  : x\n")
    shown(len(HIDDEN), "payloads")


def test_keys_of_spark_that_bring_code_are_refused(conf: Path, shown: Shown) -> None:
    for key in CODE_IN_SPARK:
        assert key in refused(conf, yaml.safe_dump(nested(("spark",), {key: "x"})))
        refused(conf, BASE, f"spark.{key}=x")
    tuned = load(conf, BASE, "spark.spark.sql.shuffle.partitions=8", "spark.spark.python.worker.memory=1g")
    assert len(tuned.spark) == 2
    shown(len(CODE_IN_SPARK), "payloads")


def a_table(path: object, **more: object) -> dict[str, Any]:
    columns = {name: name for name in ("basket_id", "product_id", "ordered_at", "quantity", "sales_amount")}
    return {"format": "csv", "path": str(path), "columns": columns, **more}


def test_date_patterns_that_spark_would_trip_over_are_refused(conf: Path, shown: Shown) -> None:
    for pattern in PATTERNS:
        table = a_table("x.csv")
        table["columns"]["ordered_at"] = {"from": "x", "format": pattern}
        source = {"kind": "files", "time_zone": "UTC", "tables": {"order_lines": table}}
        said = refused(conf, yaml.safe_dump({"as_of_date": "2017-10-30", "source": source}))
        assert "is no date pattern" in said
    shown(len(PATTERNS), "payloads")


def test_sql_is_text(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    """As a constant, a code, a value of a filter; as a column there is none of that name."""
    file = tmp_path / "a.csv"
    file.write_text("basket_id,product_id,ordered_at,quantity,sales_amount\n1,p,2024-01-01,1,1\n")
    read: list[DataFrame] = []
    for payload in SQL:
        table = a_table(file, where=[{"column": "product_id", "op": "!=", "value": payload}])
        table["columns"]["store_id"] = {"constant": payload}
        table["columns"]["product_id"] = {"from": "product_id", "values": {"p": payload}}
        mapping = TableMapping.model_validate(table)
        records = open_records(spark, mapping, list_files(spark, mapping), needed_columns(mapping)).records
        read.append(map_records(records=records, mapping=mapping, silver=ORDER_LINES, time_zone="UTC"))
    rows = reduce(DataFrame.unionByName, read).collect()
    assert [(row.store_id, row.product_id, row.faults) for row in rows] == [(text, text, []) for text in SQL]
    for payload in SQL:
        mapping = TableMapping.model_validate(a_table(file, where=[{"column": payload, "op": "=", "value": 1}]))
        with pytest.raises(SourceError, match="no column"):
            open_records(spark, mapping, list_files(spark, mapping), needed_columns(mapping))
    shown(len(SQL), "payloads")


def test_links_do_not_lead_out_of_a_folder(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.csv").write_text("id\n1\n")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("id\n1\n")
    link = folder / "b.csv"
    targets = (tmp_path / "secret" / "key.csv", tmp_path / "secret", Path("/etc/passwd"), Path("../nowhere.csv"))
    for target in targets:
        link.symlink_to(target)
        for path in (folder, folder / "*"):
            with pytest.raises(SourceError, match=r"a link in it leads out of it|links to no file"):
                list_files(spark, TableMapping.model_validate({"format": "csv", "path": str(path), "columns": {}}))
        link.unlink()
    link.symlink_to(folder / "a.csv")
    mapping = TableMapping.model_validate({"format": "csv", "path": str(folder), "columns": {}})
    assert [file.name for file in list_files(spark, mapping)] == ["a.csv", "b.csv"]
    shown(len(targets), "payloads")


def test_formulas_are_text_in_a_spreadsheet(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    rows = spark.createDataFrame([(text, place) for place, text in enumerate(FORMULAS)], "name string, place int")
    written, _ = write_list(spark, str(tmp_path), "mail", rows, ("place",))
    logged: dict[str, str] = {}
    monkeypatch.setattr(tracking.mlflow, "log_text", lambda text, place: logged.update({place: text}))
    monkeypatch.setattr(tracking.mlflow, "log_table", lambda *_: None)
    tracker = tracking.Tracker(SimpleNamespace(info=SimpleNamespace(run_id="x")), "x")  # type: ignore[arg-type]
    tracker.table("names", pd.DataFrame({"name": FORMULAS, "place": range(len(FORMULAS))}))
    with Path(written).open(newline="") as sent:
        lists = (list(csv.reader(sent)), list(csv.reader(io.StringIO(logged["tables/names.csv"], newline=""))))
    for found in lists:
        assert [row[0].replace("\r\n", "\n").replace("\r", "\n") for row in found[1:]] == [
            f"'{text}".replace("\r", "\n") for text in FORMULAS
        ]
    shown(len(FORMULAS), "payloads")


class Markup(HTMLParser):
    """Collects the elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, str]] = set()
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements |= {(tag, name) for name, _ in attrs} or {(tag, "")}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(names: tuple[str, ...]) -> Markup:
    whole = whole_evidence()
    plan = [
        plan_row(decision, name, segment_name=name, offer_id=name, channel=name, reasons=[name], segment_id=place)
        for place, name in enumerate(names)
        for decision in ("promote", "test")
    ]
    profiles = [
        {**PROFILE, "segment_id": place, "segment_name": name, "description": name, "favourite_categories": [name]}
        for place, name in enumerate(names)
    ]
    evidence = replace(
        whole,
        plan=frame(SEGMENT_PLAN, *plan),
        profiles=frame(SEGMENT_PROFILES, *profiles),
        stages=whole.stages.assign(limitations=[list(names)]),
    )
    pages = render_pages(
        evidence=evidence,
        measured=measured_of_nothing(),
        heading=Heading(title=names[0], as_of_date=DAY, currency="EUR", run_id="abc", source_kind="files"),
        budget=100.0,
        interval_level=0.9,
    )
    return Markup(pages["index.html"])


def test_names_stay_text_in_the_report(shown: Shown) -> None:
    plain, hostile = page_of(tuple(f"name {place}" for place in range(len(MARKUP)))), page_of(MARKUP)
    assert hostile.elements == plain.elements
    text = "".join(hostile.text)
    for payload in MARKUP:
        assert payload in text
        assert "54439" not in text  # 7 * 7777
    shown(len(MARKUP), "payloads")


@pytest.mark.parametrize("form", ["text", "json"])
def test_names_forge_no_line_of_the_log(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(form)
    try:
        for text in (*HIDDEN, *MARKUP):
            logging.getLogger("promo_spark.test").warning("%s: %s", "ingest", text)
            told = capsys.readouterr().err
            first, *others = told.rstrip("\n").split("\n")
            assert "ingest: " in first
            assert all(line.startswith((" ", "\t")) for line in others)
            assert "\x1b" not in told
            assert "\r" not in told
    finally:
        logging.getLogger("promo_spark").handlers.clear()
        logging.getLogger("promo_spark").propagate = True
    assert one_event("a\nerror: b\n  - c") == "a\n  error: b\n  - c"
