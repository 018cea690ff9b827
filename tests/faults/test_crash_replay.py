"""A run is recorded file by file; then the tables are put back as they stood at a moment of it, and it is run again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.pipelines import features, ingest, response, segments
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.runner import run_stages
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from tests.conftest import MakeRows
from tests.faults.conftest import Shown
from tests.faults.crash_replay import Replay, record, without_mlflow
from tests.faults.made_retailer import exports, keep_key, settings_of, source, write_files
from tests.faults.stored_rows import all_rows

pytestmark = [pytest.mark.promise("killed anywhere and run again: the tables of a run that nobody disturbed")]
DAY, OTHER_DAY = date(2024, 2, 26), date(2024, 2, 19)
FILES = 4  # that a write makes
Write = Callable[[Store], object]


class Writes:
    """Each way of writing a table, to one that is not there yet and to one that holds something."""

    def __init__(self, spark: SparkSession, make_rows: MakeRows) -> None:
        self._spark = spark
        self.rows = make_rows

    def named(self, name: str) -> tuple[Write, Write]:
        """What there was before, and the write."""
        append, dated, merge = self.append, self.dated, self.merge
        before = partial(dated, "ab", OTHER_DAY)
        stories: dict[str, tuple[Write, Write]] = {
            "append to a new table": (nothing, partial(append, "abcd")),
            "append what is missing": (partial(append, "ab"), partial(append, "abcdef")),
            "the first date": (nothing, partial(dated, "abcd", DAY)),
            "another date": (before, partial(dated, "abcd", DAY)),
            "a date again": (partial(dated, "ab", DAY), partial(dated, "bcde", DAY)),
            "a date again, with refusals": (partial(dated, "abz", DAY), partial(dated, "bcz", DAY)),
            "merge into a new table": (nothing, partial(merge, "pqrs", 1)),
            "merge late rows": (partial(merge, "pq", 1), partial(merge, "qrst", 2)),
            "merge, with refusals": (partial(merge, "pq", 1), partial(merge, "qrr", 2)),
        }
        return stories[name]

    def store(self, root: Path) -> Store:
        return Store(self._spark, warehouse=str(root / "w"), identity=str(root / "i"), is_alone=True)

    def append(self, names: str, store: Store) -> None:
        rows = [{"raw_customer_id": name, "customer_id": name.upper(), "key_version": 1} for name in names]
        store.append_missing(IDENTITY_CUSTOMERS, self.rows(IDENTITY_CUSTOMERS, rows).repartition(FILES))

    def dated(self, names: str, day: date, store: Store) -> None:
        """The customer z breaks a check."""
        common = {"category": "milk", "as_of_date": day}
        rows = [{**common, "customer_id": name, "recency_days": 0 if name == "z" else 3} for name in names]
        store.write(AFFINITY, self.rows(AFFINITY, rows).repartition(FILES), as_of_date=day)

    def merge(self, names: str, sequence: int, store: Store) -> None:
        """A product that comes twice is refused the second time."""
        lineage = {"source_file": f"f{sequence}", "ingest_sequence": sequence}
        rows = [
            {**lineage, "product_id": name, "source_ordinal": place, "brand": f"of load {sequence}"}
            for place, name in enumerate(names)
        ]
        store.write(PRODUCTS, self.rows(PRODUCTS, rows).repartition(FILES))


def nothing(_: Store) -> None:
    """There was nothing."""


@pytest.fixture
def writes(spark: SparkSession, make_rows: MakeRows) -> Writes:
    return Writes(spark, make_rows)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner without MLflow."""
    without_mlflow(monkeypatch)


def run_with(made: Mapping[str, Any], *pipelines: Pipeline, **sections: object) -> Callable[[Path], object]:
    given = {"spark": {"spark.sql.shuffle.partitions": 2}, **sections}
    return lambda root: run_stages(pipelines, Settings.model_validate(settings_of(root, made, **given)))


def story(writes: Writes, name: str, folder: Path) -> Replay:
    before, write = writes.named(name)
    return record(folder, lambda root: before(writes.store(root)), lambda root: write(writes.store(root)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "append to a new table",
        "append what is missing",
        "the first date",
        "another date",
        "a date again",
        "a date again, with refusals",
        "merge into a new table",
        "merge late rows",
        "merge, with refusals",
    ],
)
def test_a_write_killed_at_any_moment(writes: Writes, name: str, tmp_path: Path, shown: Shown) -> None:
    replay = story(writes, name, tmp_path / "replay")
    assert replay.differing(replay.moments) == []
    shown(len(replay.moments), "states")


def test_a_write_killed_around_its_commit(writes: Writes, tmp_path: Path, shown: Shown) -> None:
    replay = story(writes, "a date again", tmp_path / "replay")
    tried = replay.around_commits[-3:]
    assert replay.differing(tried) == []
    shown(len(tried), "states")


def test_rows_that_are_only_appended_come_twice(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path, shown: Shown
) -> None:
    """The control: the same check finds the fault of a writer that does not know what it has written."""

    def append(root: Path) -> None:
        rows = make_rows(PRODUCTS, [{"product_id": "p", "source_file": "f"}]).coalesce(1)
        rows.write.format("delta").mode("append").save(str(root / "w/silver/products"))

    plain = record(tmp_path / "replay", append, append)
    before, after = plain.moments[0], plain.moments[-1]
    assert plain.differing([before]) == []
    (told,) = plain.differing([after])
    assert told.endswith("w/silver/products")
    shown(1, "control that fails")


@pytest.mark.slow
def test_a_run_with_other_settings_killed_around_its_commits(
    quiet: None, writes: Writes, tmp_path: Path, shown: Shown
) -> None:
    """What it left must not be taken for the tables of the run before it, which had finished."""

    def write(stage: Stage) -> None:
        common = {"customer_id": "a", "category": "milk", "as_of_date": stage.as_of_date}
        stage.write(
            AFFINITY, writes.rows(AFFINITY, [{**common, "recency_days": stage.settings.features.lookback_days}])
        )

    stage = Pipeline("features", "", (), (AFFINITY,), write, ("features",), purpose="accounting")
    usual, other = (
        run_with({"kind": "synthetic"}, stage, features={"lookback_days": days}, as_of_date=DAY) for days in (364, 91)
    )
    replay = record(tmp_path / "replay", usual, other, again=usual)
    assert all_rows(replay.folder / "live") != replay.undisturbed
    assert replay.differing(replay.around_commits) == []
    shown(len(replay.around_commits), "states")


HEADER = "Receipt;Line;When;CustomerNo;Article;Qty;Amount\n"
FIRST = (
    "1001;1;03/01/2024 17:45;88412;A-17;2;5.98\n"
    "1001;2;03/01/2024 17:45;88412;A-20;1;1.19\n"
    "1002;1;03/01/2024 17:52;;A-17;1;2.99\n"
    "1005;1;31/02/2024 09:30;7;A-20;3;3.57\n"
    "1006;1;04/01/2024 09:30;7;A-20;3\n"
)
# A late basket of a customer who is not known yet, a correction, and a record that cannot be read.
LATE = "0999;1;02/01/2024 10:00;9;A-99;1;1.00\n1001;2;03/01/2024 17:45;88412;A-20;1;1.29\n1008;1;noon;9;A-17;1;2.99\n"
SHOP = {
    "basket_id": "Receipt",
    "line_id": "Line",
    "customer_id": "CustomerNo",
    "product_id": "Article",
    "ordered_at": {"from": "When", "format": "dd/MM/yyyy HH:mm"},
    "quantity": "Qty",
    "sales_amount": "Amount",
}


@pytest.mark.slow
@pytest.mark.parametrize("is_late", [False, True], ids=["first", "late"])
def test_ingest_killed_around_its_commits(
    spark: SparkSession, quiet: None, tmp_path: Path, shown: Shown, is_late: bool
) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    table = {"format": "csv", "path": str(inbox), "delimiter": ";", "columns": SHOP}
    take_in = run_with({"kind": "files", "time_zone": "UTC", "tables": {"order_lines": table}}, ingest.PIPELINE)

    def prepare(root: Path) -> None:
        keep_key(root)
        (inbox / "a.csv").write_text(HEADER + FIRST)
        if is_late:
            take_in(root)
            (inbox / "b.csv").write_text(HEADER + LATE)

    replay = record(tmp_path / "replay", prepare, take_in)
    tried = replay.around_commits[::4]  # of three states around a commit another one each time
    assert replay.differing(tried) == []
    shown(len(tried), "states")


@pytest.mark.slow
def test_stages_killed_around_their_commits(spark: SparkSession, quiet: None, tmp_path: Path, shown: Shown) -> None:
    tables = {name: rows for name, rows in exports(spark, 24).items() if name in {"order_lines", "products"}}
    write_files(tables, tmp_path / "in")
    made = source(tables, tmp_path / "in")
    before = tmp_path / "ingested"
    keep_key(before)
    run_with(made, ingest.PIPELINE)(before)
    for stage in (features.PIPELINE, segments.PIPELINE, response.PIPELINE):
        replay = record(tmp_path / stage.name, partial(copied, before), run_with(made, stage))
        tried = replay.around_commits[:: max(1, len(replay.around_commits) // 6)]
        assert replay.differing(tried) == []
        shown(len(tried), "states")
        before = replay.folder / "live"


def copied(before: Path, root: Path) -> None:
    shutil.copytree(before, root, dirs_exist_ok=True)
