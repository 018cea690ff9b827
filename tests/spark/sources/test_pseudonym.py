"""Pseudonyms: the standard HMAC, a key that stays secret."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import stat
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.settings import Places
from promo_spark.errors import SettingsError
from promo_spark.sources.pseudonym import KEY_VARIABLE, ensure_key, pseudonym, pseudonym_of, read_key


@pytest.fixture(autouse=True)
def no_key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    read_key.cache_clear()


def places(folder: Path) -> Places:
    return Places(key_file=str(folder / "deep" / "pseudonym.key"))


def test_the_first_local_run_makes_a_key_of_its_own(tmp_path: Path) -> None:
    path = Path(ensure_key(places(tmp_path)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text()
    assert len(bytes.fromhex(key.strip())) == 32
    assert ensure_key(places(tmp_path)) == str(path)
    assert path.read_text() == key
    assert Path(ensure_key(places(tmp_path / "other"))).read_text() != key


def test_a_key_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SettingsError, match=r"no key can be made .*No space left"):
            ensure_key(places(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert Path(ensure_key(places(tmp_path))).stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = Path(ensure_key(places(tmp_path)))
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        ensure_key(places(tmp_path))


def test_a_short_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(ensure_key(places(tmp_path)))
    path.write_text("short")
    with pytest.raises(SettingsError, match="shorter than 32 bytes") as caught:
        ensure_key(places(tmp_path))
    assert "short " not in str(caught.value).replace("shorter", "")
    monkeypatch.setenv(KEY_VARIABLE, "also short")
    with pytest.raises(SettingsError, match=KEY_VARIABLE):
        ensure_key(places(tmp_path))


def test_the_variable_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    ensure_key(places(tmp_path))
    assert not (tmp_path / "deep").exists()
    assert read_key(str(tmp_path / "absent")) == b"k" * 32


def test_only_the_key_of_the_pseudonyms_so_far_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(ensure_key(places(tmp_path)))
    known = ("17", pseudonym_of("17", path.read_text().strip().encode()) or "")
    assert ensure_key(places(tmp_path), known=known) == str(path)
    with pytest.raises(SettingsError, match=r"no key at .*but there are pseudonyms"):
        ensure_key(places(tmp_path / "moved"), known=known)
    assert not (tmp_path / "moved").exists()
    other = Path(ensure_key(places(tmp_path / "other")))
    with pytest.raises(SettingsError, match="is not the one that made the pseudonyms") as caught:
        ensure_key(places(tmp_path / "other"), known=known)
    assert other.read_text().strip() not in str(caught.value)
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    read_key.cache_clear()
    with pytest.raises(SettingsError, match=f"variable {KEY_VARIABLE}"):
        ensure_key(places(tmp_path), known=known)


def test_a_remote_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--files"):
        ensure_key(Places(key_file="s3a://bucket/key"))


def test_pseudonyms_are_hmac_sha256(spark: SparkSession, tmp_path: Path) -> None:
    key_file = ensure_key(places(tmp_path))
    raw = ["1", "Ä-17", "1", None, "", "  ", *(str(number) for number in range(100))]
    frame = spark.createDataFrame([(value,) for value in raw], "raw string").repartition(3)
    hidden = frame.withColumn("token", pseudonym(F.col("raw"), key_file))
    key = Path(key_file).read_text().strip()
    for row in hidden.collect():
        expected = None
        if row.raw is not None and row.raw.strip():
            expected = hmac.new(key.encode(), row.raw.encode(), hashlib.sha256).hexdigest()[:32]
        assert row.token == expected
    plan = hidden._jdf.queryExecution().toString()
    assert key not in plan
