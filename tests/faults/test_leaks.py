"""Raw ids, pseudonyms, keys and passwords stay where they belong: not in plans, logs or told settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

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
from tests.faults.canary_files import sell, source_of
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("no key or identifier leaks")]
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
    raw = sorted({row.raw_customer_id for row in rows if row.raw_customer_id is not None})
    assert len(raw) >= 10  # not everybody buys
    needles = [*raw, *(str(pseudonym_of(text, key)) for text in raw), key.decode()]
    assert not [needle for needle in needles if needle in plans + caplog.text]
    assert "source_ordinal" in plans
    assert [needle for needle in needles if needle not in str(rows)] == [key.decode()]
    shown(len(needles), "canaries in plans and logs")


def test_settings_that_are_told_hide_secrets(tmp_path: Path, shown: Shown) -> None:
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
    shown(3, "ways in which a secret setting stays untold")
