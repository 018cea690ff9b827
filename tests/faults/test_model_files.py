"""A model folder is code to whoever may write there: what was not saved by a stage is refused before it is loaded."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import Binarizer
from pyspark.sql import SparkSession

from promo_spark.errors import StorageError
from promo_spark.runtime.model_files import check_model, seal_model
from promo_spark.runtime.stage import Stage
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("a model file cannot run code")]
RAN: list[str] = []


class Exploit:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return RAN.append, ("ran",)


@pytest.fixture
def model(spark: SparkSession, tmp_path: Path) -> Path:
    place = tmp_path / "models" / "sized"
    steps = [Binarizer(inputCol="x", outputCol="y", threshold=0.5)]
    PipelineModel(steps).write().overwrite().save(str(place))
    seal_model(spark, str(place))
    return place


def load(spark: SparkSession, place: Path, kind: type[Any] = PipelineModel) -> Any:
    """As a stage does."""
    stage = SimpleNamespace(spark=spark, as_of_date="2024-01-01", _model_path=lambda _name: str(place))
    return Stage.load_model(stage, place.name, kind)  # type: ignore[arg-type]


def sole(place: Path, pattern: str) -> Path:
    (found,) = place.glob(pattern)
    return found


def tampered(place: Path, part: str, **changes: object) -> None:
    """Change metadata, and Hadoop's own checksum of it away, as whoever does it on purpose would."""
    file = sole(place, part)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    (file.parent / f".{file.name}.crc").unlink()


def test_what_was_saved_is_loaded(spark: SparkSession, model: Path) -> None:
    stage = load(spark, model).stages[0]
    assert (stage.getThreshold(), stage.getOutputCol()) == (0.5, "y")


def test_a_foreign_pickle_is_refused(spark: SparkSession, model: Path, shown: Shown) -> None:
    (model / "model.pkl").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(StorageError, match=r"model\.pkl was added"):
        load(spark, model)
    assert RAN == []
    shown(1, "cases")


def test_another_content_is_refused(spark: SparkSession, model: Path, shown: Shown) -> None:
    tampered(model, "stages/*/metadata/part-*", paramMap={"threshold": 0.9, "inputCol": "x", "outputCol": "y"})
    with pytest.raises(StorageError, match=r"stages/.* was changed"):
        load(spark, model)
    sole(model, "stages/*/metadata/part-*").unlink()
    with pytest.raises(StorageError, match="was taken away"):
        load(spark, model)
    shown(1, "cases")


def test_a_model_of_another_kind_is_refused(spark: SparkSession, model: Path, shown: Shown) -> None:
    with pytest.raises(StorageError, match="PipelineModel' where a Binarizer was saved"):
        load(spark, model, Binarizer)
    shown(1, "cases")


@pytest.mark.parametrize("part", ["metadata/part-*", "stages/*/metadata/part-*"])
def test_another_class_is_refused_even_under_a_manifest_that_fits(
    spark: SparkSession, model: Path, part: str, shown: Shown
) -> None:
    tampered(model, part, **{"class": "antigravity.Model"})
    seal_model(spark, str(model))
    with pytest.raises(StorageError, match=r"names class 'antigravity\.Model'"):
        load(spark, model)
    if part.startswith("metadata"):
        shown(1, "cases")


@pytest.mark.parametrize("manifest", [None, "", "[]", '{"files": {}}'])
def test_a_model_without_its_manifest_is_refused(spark: SparkSession, model: Path, manifest: str | None) -> None:
    file = model.with_name("sized.manifest.json")
    file.unlink() if manifest is None else file.write_text(manifest)
    with pytest.raises(StorageError, match=r"no manifest|was added"):
        load(spark, model)


def test_other_file_systems_are_hashed_alike(spark: SparkSession, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promo_spark.runtime.files.is_local", lambda _place: False)
    check_model(spark, f"file://{model}", PipelineModel)
    (model / "model.pkl").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"model\.pkl was added"):
        check_model(spark, f"file://{model}", PipelineModel)
