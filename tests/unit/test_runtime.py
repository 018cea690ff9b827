"""Order of stages, places, the lock and run identity, without a JVM."""

from pathlib import Path

import pytest

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.settings import Places
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.table import TableContract
from promo_spark.errors import ContractError, LockedError, StorageError
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.lock import warehouse_lock
from promo_spark.runtime.pipeline import Pipeline, in_order
from promo_spark.runtime.places import absolute, is_local, joined


def stage(name: str, reads: tuple[TableContract, ...], writes: tuple[TableContract, ...]) -> Pipeline:
    return Pipeline(name, name, reads, writes, lambda _: None, purpose="personalisation")


def test_stages_come_after_what_they_read() -> None:
    plan = stage("plan", (AFFINITY,), (SEGMENT_PLAN,))
    features = stage("features", (ORDER_LINES,), (AFFINITY,))
    assert [p.name for p in in_order((plan, features))] == ["features", "plan"]


def test_a_table_has_one_writer() -> None:
    with pytest.raises(ContractError, match=r"features.affinity is written by a and by b"):
        in_order((stage("a", (), (AFFINITY,)), stage("b", (), (AFFINITY,))))


def test_a_stage_that_sees_customers_says_what_for() -> None:
    with pytest.raises(ContractError, match=r"stage plan sees customers \(features\.affinity\).*declare its purpose"):
        Pipeline("plan", "", (SEGMENT_PLAN, AFFINITY), (), lambda _: None)
    with pytest.raises(ContractError, match="sees customers"):
        Pipeline("features", "", (), (AFFINITY,), lambda _: None)
    with pytest.raises(ContractError, match="sees customers"):
        Pipeline("draw", "", (AFFINITY,), (), lambda _: None, is_dated=False)
    assert Pipeline("plan", "", (SEGMENT_PLAN,), (), lambda _: None, ("plan",)).deciding_settings == ("plan",)
    ledger = Pipeline("ingest", "", (), (ORDER_LINES,), lambda _: None, is_dated=False)
    assert ledger.deciding_settings == ()


def test_stages_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ContractError, match="wait for each other: a, b"):
        in_order((stage("a", (AFFINITY,), (SEGMENT_PLAN,)), stage("b", (SEGMENT_PLAN,), (AFFINITY,))))


def test_the_whole_pipeline_has_an_order() -> None:
    names = [pipeline.name for pipeline in in_order(ALL)]
    assert names.index("ingest") == 0
    assert names.index("features") < names.index("segments") < names.index("response") < names.index("plan")


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("./warehouse") == str(tmp_path / "warehouse")
    assert absolute("s3a://bucket/w/") == "s3a://bucket/w"
    assert is_local("file:///a")
    assert not is_local("hdfs:///a")
    assert joined("/a/", "b", "c") == "/a/b/c"


def test_the_lock_admits_one(tmp_path: Path) -> None:
    places = Places(warehouse=str(tmp_path / "w"), lock_wait_seconds=0)
    refused = pytest.raises(LockedError, match="another run holds the warehouse")
    with warehouse_lock(places), refused, warehouse_lock(places):
        pass
    with warehouse_lock(places):
        pass


def test_an_unwritable_warehouse_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"file/w cannot be written.*places\.warehouse"),
        warehouse_lock(Places(warehouse=str(tmp_path / "file" / "w"))),
    ):
        pass
