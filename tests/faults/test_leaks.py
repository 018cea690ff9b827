"""Raw ids, pseudonyms, keys and passwords stay where they belong: looked for wherever jobs write about themselves."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.errors import SettingsError
from promo_spark.pipelines import ingest
from promo_spark.pipelines.ingest_loads import new_loads
from promo_spark.runtime.settings import load_settings, told_settings
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from promo_spark.sources.pseudonym import ensure_key, pseudonym_of, read_key
from tests.end_to_end.conftest import FAST_START, Place, environment, make_place
from tests.faults.canary_files import canary, sell, source_of
from tests.faults.conftest import Shown
from tests.faults.needles import files_of, found_needles

pytestmark = [pytest.mark.promise("no key or identifier leaks")]
ROOT = Path(__file__).parents[2]
CANARY_VALUE = "canary-9f31-secret"
OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}


class Figures:
    """Stands in for a run of MLflow."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Keep nothing."""


def plans_of(frame: DataFrame) -> str:
    execution: Any = frame._jdf.queryExecution()
    return str(execution.toString())


def test_plans_and_logs_of_the_door_name_nobody(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture, shown: Shown
) -> None:
    sell(tmp_path, "a", customers=range(20), first=date(2024, 1, 1), weeks=2)
    places = {"warehouse": f"{tmp_path}/w", "identity": f"{tmp_path}/i", "key_file": f"{tmp_path}/i/key"}
    given = {"as_of_date": date(2024, 2, 26), "source": source_of(tmp_path), "places": places}
    settings = Settings.model_validate({**given, "promotions": {"offers": [OFFER]}})
    store = Store(spark, warehouse=settings.places.warehouse, identity=settings.places.identity)
    stage = Stage(ingest.PIPELINE, settings, spark, store, Figures(), "run")  # type: ignore[arg-type]  # a stand-in
    with caplog.at_level(logging.DEBUG):
        key_file = ensure_key(settings.places)
        (load,) = new_loads(stage, key_file)
        rows = load.received.collect()
        plans = plans_of(load.received) + plans_of(load.received.groupBy("customer_id").count())
    key = read_key(key_file)
    raw = [canary(customer) for customer in range(20)]
    needles = [*raw, *(str(pseudonym_of(text, key)) for text in raw), key.decode()]
    assert not [needle for needle in needles if needle in plans + caplog.text]
    assert "lines" in plans
    told = str(rows)
    assert [needle for needle in needles if needle not in told] == [key.decode()]
    shown(len(needles), "canaries in plans and logs")


def test_settings_that_are_told_hide_secrets(tmp_path: Path) -> None:
    (tmp_path / "promotions.yaml").write_text(
        "offers: [{offer_id: a, name: a, mechanic: display, channel: store, display_rate: 0.5}]\n"
    )
    config = tmp_path / "own.yaml"
    config.write_text(
        f"as_of_date: 2024-02-26\nsource: {{kind: synthetic}}\n"
        f"spark: {{spark.hadoop.fs.s3a.secret.key: {CANARY_VALUE}, spark.ui.enabled: false}}\n"
    )
    settings = load_settings([config])
    assert settings.spark["spark.hadoop.fs.s3a.secret.key"] == CANARY_VALUE
    told = told_settings(settings)
    assert CANARY_VALUE not in str(told)
    assert told["spark"]["spark.ui.enabled"] is False
    assert told["places"]["key_file"] == settings.places.key_file
    config.write_text(config.read_text().replace(CANARY_VALUE, f"[{CANARY_VALUE}]"))
    with pytest.raises(SettingsError, match=r"fs\.s3a\.secret\.key") as fault:
        load_settings([config])
    assert CANARY_VALUE not in str(fault.value)
    with pytest.raises(SettingsError, match="is a value, not a section") as other:
        load_settings([config], [f"as_of_date.password={CANARY_VALUE}"])
    assert CANARY_VALUE not in str(other.value)


@pytest.mark.slow
@pytest.mark.end_to_end
def test_real_jobs_name_nobody(tmp_path: Path, shown: Shown) -> None:
    """The whole pipeline; then a new file, a hand-over and an erasure with the engines' own logs at debug."""
    place = make_place(tmp_path / "place")
    sell(place.folder, "first", customers=range(150), first=date(2024, 1, 1), weeks=30)
    config = place.folder / "canaries.yaml"
    config.write_text(settings_text(place.folder))
    events = place.folder / "events"
    events.mkdir()
    told = [job(place, "pipeline", config, events)]
    sell(place.folder, "second", customers=range(140, 160), first=date(2024, 7, 1), weeks=2)
    told += [job(place, name, config, events, debug=True) for name in ("ingest", "pipeline", "export")]
    (place.folder / "requests.csv").write_text(f"customer_id\n{canary(3)}\n{canary(151)}\n")
    pseudonyms = known_pseudonyms(place)
    told.append(job(place, "erase", config, events, "--set", f"erase.requests={place.folder}/requests.csv", debug=True))
    key = (place.folder / "identity/pseudonym.key").read_text().strip()
    raw = [canary(customer) for customer in range(160)]
    needles = [*raw, *pseudonyms, key, CANARY_VALUE]
    public = [place.folder / name for name in ("events", "artifacts", "mlflow.db", "warehouse/reports", "logs")]
    assert found_needles(public, needles) == {}
    assert found_needles([place.warehouse], [*raw, key, CANARY_VALUE]) == {}
    # The controls: what is looked for is where it belongs, and the searched places hold what they should.
    kept = set(found_needles([place.folder / "identity"], [*raw, key]))
    assert {canary(5), canary(155), key} <= kept
    assert set(found_needles([place.warehouse / "silver"], pseudonyms)) > set(pseudonyms[:1])
    assert found_needles([events], ["SparkListenerSQLExecutionStart", "order_lines"]).keys() >= {"order_lines"}
    assert "DEBUG" in (place.folder / "logs/ingest-debug.log").read_text(errors="replace")
    shown(len(needles), "canaries in jobs' logs, events, MLflow and reports")
    shown(len(files_of(public)), "files searched")


def settings_text(folder: Path) -> str:
    columns = "\n".join(
        f"        {name}: {column}" for name, column in source_of(folder)["tables"]["order_lines"]["columns"].items()
    )
    return f"""
as_of_date: 2024-07-29
spark:
  spark.hadoop.fs.s3a.secret.key: {CANARY_VALUE}
source:
  kind: files
  name: canaries
  time_zone: UTC
  tables:
    order_lines:
      format: csv
      path: {folder}/lines
      columns:
{columns}
"""


def job(place: Place, name: str, config: Path, events: Path, *more: str, debug: bool = False) -> Path:
    """Run a job; its whole output goes to a file, the place of which is returned."""
    logs = place.folder / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{name}{'-debug' if debug else ''}.log"
    levels = place.folder / "debug.properties"
    packages = ("org.apache.spark.sql", "org.apache.spark.scheduler", "org.apache.spark.api", "io.delta", "py4j")
    chosen = "".join(f"logger.l{n}.name = {package}\nlogger.l{n}.level = debug\n" for n, package in enumerate(packages))
    levels.write_text((ROOT / "conf/log4j2.properties").read_text() + chosen)
    options = [*FAST_START, "--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{events}"]
    env = environment()
    if debug:
        env["SPARK_SUBMIT_OPTS"] = f"-Dlog4j2.configurationFile={levels}"
    command = place.command(name, "--config", str(config), *more, options=options)
    with log.open("w") as output:
        run = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=env, timeout=900, check=False)
    assert run.returncode == 0, log.read_text(errors="replace")[-3000:]
    return log


def known_pseudonyms(place: Place) -> list[str]:
    """Every pseudonym, from the files of identity.customers themselves."""
    files = (place.folder / "identity/identity/customers").glob("*.parquet")
    return sorted({name for path in files for name in pq.read_table(path)["customer_id"].to_pylist()})
