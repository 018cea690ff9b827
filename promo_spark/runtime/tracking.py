"""MLflow: one parent run per pipeline run, one nested run per stage; aggregates only."""

from __future__ import annotations

import csv
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient
from pyspark.sql import DataFrame
from sklearn.base import ClassifierMixin

from promo_spark.contracts.settings import Settings, Tracking
from promo_spark.errors import TrackingError
from promo_spark.runtime.exports import FORMULA_STARTS
from promo_spark.runtime.places import absolute, is_local, local_path
from promo_spark.runtime.settings import told_settings

_LOG = logging.getLogger(__name__)
RUN_ID_TAG = "promo_spark.run_id"
CHAMPION, CHALLENGER = "champion", "challenger"
_REQUIREMENTS = ["pyspark", "mlflow"]
_SKLEARN_REQUIREMENTS = ["scikit-learn", "numpy", "skops", "mlflow"]
# Boosted trees are made of these; skops asks for a word about every class that it does not know.
_SKLEARN_TREES = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
_SAMPLE_ROWS = 20


def connect(tracking: Tracking) -> None:
    """Point MLflow at its server or database and make the experiment.

    Raises:
        TrackingError: It cannot be reached, or its database cannot be written.
    """
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mlflow.*")
    mlflow.set_tracking_uri(tracking.uri)
    try:
        if mlflow.get_experiment_by_name(tracking.experiment) is None:
            place = absolute(tracking.artifacts) if tracking.artifacts else None
            location = local_path(place).as_uri() if place and is_local(place) else place
            mlflow.create_experiment(tracking.experiment, artifact_location=location)
        mlflow.set_experiment(tracking.experiment)
    except Exception as fault:  # SQLAlchemy, requests and MLflow each have their own errors for this
        reason = str(fault).strip().splitlines()[0][:300]
        raise TrackingError(
            f"MLflow at {tracking.uri} cannot be used: {reason}. "
            "Start the server, or set tracking.uri (for instance sqlite:///mlflow.db)."
        ) from fault


class Tracker:
    """What one stage may log in its own MLflow run."""

    def __init__(self, run: Run, registry_prefix: str) -> None:
        self._run_id = run.info.run_id
        self._prefix = registry_prefix
        self.is_abandoned = False

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log figures under plain names."""
        mlflow.log_metrics({name: float(value) for name, value in values.items()}, run_id=self._run_id)

    def tables(self, versions: Mapping[str, int], limitations: list[str]) -> None:
        """Log which version of each table was read or written, and what the data did not support."""
        mlflow.log_dict(dict(sorted(versions.items())), "table_versions.json")
        mlflow.log_text("\n".join(limitations) or "none", "limitations.txt")

    def abandon(self) -> None:
        """Let the run of a stage that had nothing to do go when it closes."""
        self.is_abandoned = True

    def parameters(self, values: Mapping[str, object]) -> None:
        """Log settings."""
        mlflow.log_params({name: str(value)[:500] for name, value in values.items()})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the run."""
        mlflow.set_tags(dict(values))

    def figure(self, name: str, figure: Figure) -> None:
        """Log a plot as PNG, which the UI shows inline."""
        mlflow.log_figure(figure, f"figures/{name}.png")

    def table(self, name: str, rows: pd.DataFrame) -> None:
        """Log an aggregate table twice: for the UI to show, and as CSV to take away."""
        mlflow.log_table(rows.astype(object).mask(rows.isna(), other=None), f"tables/{name}.json")
        # Without quotes, a carriage return within a cell would begin a row.
        text = _without_formulas(rows).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
        mlflow.log_text(text, f"tables/{name}.csv")

    def page(self, name: str, html: str) -> None:
        """Log a page of text."""
        mlflow.log_text(html, name)

    def model(
        self,
        name: str,
        model: Any,  # noqa: ANN401  (any Spark model)
        sample: DataFrame,
        output: DataFrame,
        *,
        alias: str = CHAMPION,
    ) -> None:
        """Log a Spark model with its signature and register it under an alias."""
        pip_requirements = [f"{package}=={version(package)}" for package in _REQUIREMENTS]
        signature = infer_signature(sample.limit(_SAMPLE_ROWS), output.limit(_SAMPLE_ROWS))
        registered = f"{self._prefix}_{name}"
        mlflow.spark.log_model(
            model,
            artifact_path=name,
            registered_model_name=registered,
            signature=signature,
            pip_requirements=pip_requirements,
            await_registration_for=30,
        )
        _point_to_newest(registered, alias)

    def classifier(self, name: str, model: ClassifierMixin, sample: pd.DataFrame) -> None:
        """Log a scikit-learn classifier, which answers with probabilities, and register it in force.

        Its file holds no pickle: what loads it runs no code of it.
        """
        registered = f"{self._prefix}_{name}"
        mlflow.sklearn.log_model(
            model,
            name=name,
            registered_model_name=registered,
            signature=infer_signature(sample, model.predict_proba(sample.to_numpy())),
            pip_requirements=[f"{package}=={version(package)}" for package in _SKLEARN_REQUIREMENTS],
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=_SKLEARN_TREES,
            pyfunc_predict_fn="predict_proba",
            await_registration_for=30,
        )
        _point_to_newest(registered, CHAMPION)


def _point_to_newest(registered: str, alias: str) -> None:
    client = MlflowClient()
    versions = client.search_model_versions(f"name = '{registered}'")
    newest = max(int(found.version) for found in versions)
    client.set_registered_model_alias(registered, alias, str(newest))


@contextmanager
def parent_run(settings: Settings, settings_hash: str) -> Iterator[Run]:
    """Open the run of a whole pipeline: settings and their hash, and the resolved settings as a file."""
    name = f"plan {settings.as_of_date} ({settings.source.kind})"
    with _tracked(), mlflow.start_run(run_name=name) as run:
        mlflow.set_tags({"promo_spark.settings_hash": settings_hash, "promo_spark.stage": "pipeline"})
        mlflow.log_params({"as_of_date": settings.as_of_date, "source": settings.source.kind, "seed": settings.seed})
        mlflow.log_dict(told_settings(settings), "settings.yaml")
        yield run


@contextmanager
def stage_run(
    stage: str, run_id: str, experiment: str, *, parent: Run | None = None, name: str | None = None
) -> Iterator[Tracker]:
    """Open the run of one stage; named otherwise, of one of several things tried within it.

    Args:
        stage: Name of the stage.
        run_id: Identity of the run.
        experiment: Before the names of registered models.
        parent: The run to stand below, which another thread may have opened; unless given, the one open in this thread.
        name: Of the run.
    """
    above = None if parent is None else parent.info.run_id
    with _tracked(), mlflow.start_run(run_name=name or stage, nested=parent is None, parent_run_id=above) as run:
        mlflow.set_tags({RUN_ID_TAG: run_id, "promo_spark.stage": stage})
        tracker = Tracker(run, experiment)
        yield tracker
    if tracker.is_abandoned:
        discard(run)


def _without_formulas(rows: pd.DataFrame) -> pd.DataFrame:
    """Text that a spreadsheet would take for a formula gets an apostrophe, as in lists."""
    return rows.map(lambda cell: re.sub(f"({FORMULA_STARTS})", r"'\1", cell) if isinstance(cell, str) else cell)


def headlines(parent: Run, values: Mapping[str, float]) -> None:
    """Put figures on the page of the whole run, where runs are compared."""
    with _tracked():
        mlflow.log_metrics(dict(values), run_id=parent.info.run_id)


def tag_run_id(run_id: str) -> None:
    """Name the open run by the identity of its inputs, code and settings."""
    mlflow.set_tag(RUN_ID_TAG, run_id)


def discard(run: Run) -> None:
    """Remove a run in which nothing had to be done."""
    MlflowClient().delete_run(run.info.run_id)


@contextmanager
def _tracked() -> Iterator[None]:
    try:
        yield
    except MlflowException as fault:
        raise TrackingError(f"MLflow refused: {str(fault).splitlines()[0]}") from fault
