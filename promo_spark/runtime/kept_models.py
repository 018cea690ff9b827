"""Models that keep something of each customer, wherever copies of them lie."""

from __future__ import annotations

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession

from promo_spark.contracts.recommend import CUSTOMER_MODELS
from promo_spark.errors import TrackingError
from promo_spark.runtime.files import list_names, remove_folder
from promo_spark.runtime.places import joined

_PAGE = 500


def remove_kept_models(spark: SparkSession, warehouse: str) -> list[str]:
    """Remove the copies beside the tables, of every date; the places of what went."""
    root = joined(warehouse, "models")
    places = [joined(root, date, name) for date in sorted(list_names(spark, root)) for name in CUSTOMER_MODELS]
    return [place for place in places if remove_folder(spark, place)]


def remove_logged_models(experiment: str) -> list[str]:
    """Remove the copies in MLflow: versions in the registry, and the files of every run, deleted ones too.

    Returns:
        What went, in words.

    Raises:
        TrackingError: MLflow or its artifact store refuses.
    """
    client = MlflowClient()
    try:
        return [*_remove_files(client, experiment), *_remove_versions(client, experiment)]
    except (MlflowException, OSError, NotImplementedError) as fault:
        reason = (str(fault).splitlines() or ["it cannot remove files"])[0]
        raise TrackingError(
            f"MLflow does not remove the models {', '.join(CUSTOMER_MODELS)}: {reason}. Remove their artifacts by hand."
        ) from fault


def _remove_files(client: MlflowClient, experiment: str) -> list[str]:
    found = client.get_experiment_by_name(experiment)
    removed: list[str] = []
    token = None
    while found is not None:
        runs = client.search_runs(
            [found.experiment_id], run_view_type=ViewType.ALL, max_results=_PAGE, page_token=token
        )
        for run in runs:
            repository = get_artifact_repository(run.info.artifact_uri)
            held = {entry.path for entry in repository.list_artifacts()}
            for name in held.intersection(CUSTOMER_MODELS):
                repository.delete_artifacts(name)  # type: ignore[no-untyped-call]  # MLflow's, has no types
                removed.append(f"MLflow run {run.info.run_id}: {name}")
        token = runs.token
        if not token:
            break
    return removed


def _remove_versions(client: MlflowClient, experiment: str) -> list[str]:
    removed = []
    for name in CUSTOMER_MODELS:
        registered = f"{experiment}_{name}"
        for version in client.search_model_versions(f"name = '{registered}'"):
            client.delete_model_version(registered, version.version)
            removed.append(f"MLflow registry: {registered} version {version.version}")
    return removed
