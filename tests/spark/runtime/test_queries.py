"""Jobs beside the pipeline: what stops them, and that each stop ends in one message and a code."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.runtime import queries
from promo_spark.runtime.erasures import ERASURE, Findings, begin, finish
from promo_spark.runtime.store import Store

OWN = """
as_of_date: 2017-10-30
source: {{kind: synthetic}}
promotions: {{offers: [{{offer_id: a, name: a, mechanic: display, display_rate: 0.5, channel: store}}]}}
places: {{warehouse: {folder}/w, identity: {folder}/i}}
"""


@pytest.fixture
def arguments(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a job on an empty warehouse."""
    monkeypatch.setattr(queries, "start_session", lambda *_: spark)
    (tmp_path / "own.yaml").write_text(OWN.format(folder=tmp_path), encoding="utf-8")
    return ["--config", str(tmp_path / "own.yaml")]


def no_arguments(_: ArgumentParser) -> None:
    pass


def greeting(*_: object) -> str:
    return "answered"


def test_nothing_is_answered_while_an_erasure_is_open(
    spark: SparkSession, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(spark, warehouse=str(tmp_path / "w"), identity=str(tmp_path / "i"))
    request = begin(store, ERASURE, 1)
    assert queries.run_query("", no_arguments, greeting, arguments) == 17
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: an erasure")
    assert "Run jobs/erase.py" in told.err
    assert queries.run_query("", no_arguments, greeting, arguments, amid_erasures=True) == 0
    finish(store, request, Findings())
    assert queries.run_query("", no_arguments, greeting, arguments) == 0
    assert capsys.readouterr().out == "answered\nanswered\n"


def test_an_interrupt_is_told_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: Namespace, __: Settings, ___: Store) -> str:
        main = threading.main_thread()
        assert threading.current_thread() is not main
        signal.pthread_kill(int(main.ident or 0), signal.SIGINT)
        return "too late"

    assert queries.run_query("", no_arguments, interrupted, arguments, holds_warehouse=True) == 130
    assert capsys.readouterr().err.startswith("error: interrupted; run the same command again")
