"""A whole run of real jobs: nobody's id and no key in what is shown, logged or kept for all to see."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from promo_spark.sources.pseudonym import pseudonym_of, read_key
from tests.end_to_end.conftest import FAST_START, make_place
from tests.faults.canary_files import canary
from tests.faults.conftest import Shown
from tests.faults.made_retailer import DAY, QUICK, exports, source, write_files
from tests.faults.needles import files_of, found_needles

pytestmark = [
    pytest.mark.promise("no key or identifier leaks"),
    pytest.mark.end_to_end,
    pytest.mark.slow,
]
KEY = "5eedc0de" * 8
CUSTOMERS = 60


def test_a_run_names_nobody(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    tables = exports(spark, CUSTOMERS)
    known = sorted(tables["order_lines"]["customer_id"].dropna().unique())
    names = {own: canary(number) for number, own in enumerate(known)}
    for rows in tables.values():
        if "customer_id" in rows:
            rows["customer_id"] = rows["customer_id"].map(lambda own: names.get(own, own))
    # A record that is refused brings its raw text along.
    tables["order_lines"].loc[0, "quantity"] = "many"
    write_files(tables, tmp_path / "in")
    place = make_place(tmp_path / "place")
    key_file = place.folder / "identity/pseudonym.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    events = tmp_path / "events"
    events.mkdir()
    config = place.folder / "own.yaml"
    own = {"as_of_date": DAY.isoformat(), "source": source(tables, tmp_path / "in"), **QUICK}
    config.write_text(yaml.safe_dump(own))
    logged = ("--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file:{events}")
    compressed = ("--conf", "spark.eventLog.compress=false")
    run = place.run("pipeline", "--config", str(config), options=(*FAST_START, *logged, *compressed))
    assert run.returncode == 0, run.stdout[-3000:]
    (tmp_path / "log").write_text(run.stdout)

    raw = list(names.values())
    pseudonyms = [str(pseudonym_of(name, read_key(str(key_file)))) for name in raw]
    assert len(raw) > CUSTOMERS // 2
    tables_of_customers = [place.warehouse / layer for layer in ("silver", "features", "plans")]
    assert set(found_needles(tables_of_customers, pseudonyms)) == set(pseudonyms), "the search finds what is there"
    assert set(found_needles([place.folder / "identity"], [*raw, KEY])) == {*raw, KEY}
    shared = [
        events,
        tmp_path / "log",
        place.folder / "mlflow.db",
        place.folder / "artifacts",
        place.warehouse / "reports",
    ]
    assert all(files_of([root]) for root in shared)
    assert found_needles([place.warehouse, *shared], [*raw, KEY]) == {}
    assert found_needles(shared, pseudonyms) == {}
    shown(len(raw) + len(pseudonyms) + 1, "canaries in the log, event log, MLflow, report and tables of a run")
