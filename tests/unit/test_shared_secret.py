"""Where the cluster's secret comes from, and where it does not go."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promo_spark.errors import SettingsError
from promo_spark.runtime.session import _shared_secret

ENCRYPTED = yaml.safe_load((Path(__file__).parents[2] / "conf/encrypted.yaml").read_text(encoding="utf-8"))["spark"]


@pytest.fixture(autouse=True)
def submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under spark-submit, which has started the JVM."""
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    for name in ("PROMO_SPARK_RPC_SECRET", "PROMO_SPARK_RPC_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _shared_secret(ENCRYPTED) == {}
    monkeypatch.setenv("PROMO_SPARK_RPC_SECRET", "from the environment")
    assert _shared_secret(ENCRYPTED) == {"spark.authenticate.secret": "from the environment"}
    file = tmp_path / "secret"
    file.write_text("from the file\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("PROMO_SPARK_RPC_SECRET_FILE", str(file))
    assert _shared_secret(ENCRYPTED) == {"spark.authenticate.secret": "from the file"}
    assert _shared_secret({}) == {}, "nobody asked for it"
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT")
    assert _shared_secret(ENCRYPTED) == {}, "pyspark would put it on a command line"


def test_a_file_that_others_read_or_nobody_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    monkeypatch.setenv("PROMO_SPARK_RPC_SECRET_FILE", str(file))
    with pytest.raises(SettingsError, match="cannot be read"):
        _shared_secret(ENCRYPTED)
    file.write_text("canary", encoding="utf-8")
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="can be read by others: run chmod 600") as told:
        _shared_secret(ENCRYPTED)
    assert "canary" not in str(told.value)
