"""The search through ``spark-submit.sh``, on a simulated retailer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession

from promo_spark.contracts.learning import TRIALS
from promo_spark.runtime.store import Store
from tests.end_to_end.conftest import Place, make_place

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]
WORLD = {
    "source": {
        "kind": "synthetic",
        "customers": 150,
        "products": 120,
        "categories": 8,
        "stores": 3,
        "weeks": 26,
        "baskets_per_week": 0.3,
    },
    "as_of_date": "2017-06-05",
    "segments.horizon_days": 28,
    # In so few customers the tree finds nothing to split by: the logistic regression does better.
    "segments.churn_models": ["tree"],
    "recommend.min_customers": 1,
    "recommend.item_weighting": "bm25",
    "tune.subjects": ["neighbours", "item_neighbours", "churn"],
    "tune.neighbours": {"neighbours": [20], "neighbour_power": [2.0], "neighbour_weight": [0.2]},
    "tune.item_neighbours": {"item_weighting": ["cosine", "bm25"], "item_neighbours": [100]},
    "tune.churn_models": ["logistic"],
}
TRIED = {"neighbours": 2, "item_neighbours": 2, "churn": 2}


def run(place: Place, job: str) -> subprocess.CompletedProcess[str]:
    return place.run(job, *(word for key, value in WORLD.items() for word in ("--set", f"{key}={json.dumps(value)}")))


def test_a_search_leaves_trials_a_challenger_and_settings(tmp_path: Path, spark: SparkSession) -> None:
    place = make_place(tmp_path / "place")
    assert run(place, "ingest").returncode == 0
    search = run(place, "tune")
    assert search.returncode == 0, search.stdout[-3000:]
    store = Store(spark, warehouse=str(place.warehouse), identity=str(place.folder / "identity"))
    trials = store.read(TRIALS).collect()
    assert {subject: sum(row.subject == subject for row in trials) for subject in TRIED} == TRIED
    tuned = (place.folder / "conf/tuned.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(tuned)["segments"] == {"churn_models": ["logistic"]}
    assert tuned in search.stdout

    mlflow.set_tracking_uri(f"sqlite:///{place.folder}/mlflow.db")
    client = MlflowClient()
    experiment = client.get_experiment_by_name("promo_spark")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (stage,) = [found for found in runs if found.info.run_name == "tune"]
    nested = [found for found in runs if found.data.tags.get("mlflow.parentRunId") == stage.info.run_id]
    assert len(nested) == len(trials)
    assert all("gain" in found.data.metrics and found.data.params for found in nested)
    assert client.get_model_version_by_alias("promo_spark_customer_churn", "challenger")

    again = run(place, "tune")
    assert again.returncode == 0, again.stdout[-3000:]
    assert "tune: nothing to do" in again.stdout
    assert store.read(TRIALS).count() == len(trials)
