"""Run a stage whenever a line says so, in one session: the folder it works in, and its name."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

import pytest

from promo_spark.contracts.settings import Settings
from promo_spark.pipelines import features, ingest
from promo_spark.runtime.runner import run_stages
from tests.faults.crash_replay import without_mlflow
from tests.faults.made_retailer import settings_of

STAGES = {"ingest": ingest.PIPELINE, "features": features.PIPELINE}

if __name__ == "__main__":
    without_mlflow(pytest.MonkeyPatch())
    for line in sys.stdin:
        asked = json.loads(line)
        root = Path(asked["root"])
        given = settings_of(root, asked["source"], spark={"spark.sql.shuffle.partitions": 4})
        try:
            run_stages((STAGES[asked["stage"]],), Settings.model_validate(given))
            answer = "done"
        except Exception:  # noqa: BLE001  (told to who asked)
            answer = traceback.format_exc()
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")
        sys.stdout.flush()
