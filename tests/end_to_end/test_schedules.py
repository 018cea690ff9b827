"""The recipes for schedulers, run as the schedulers would run them."""

from __future__ import annotations

import os
import py_compile
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.end_to_end.conftest import ROOT, SAMPLE, Place, make_place

CRONTAB = ROOT / "conf/schedule/crontab"
DAG_FILE = ROOT / "conf/schedule/airflow_dag.py"
_VARIABLE = re.compile(r"^(\w+)\s*=\s*(.*)$")
_ENTRY = re.compile(r"^((?:\S+\s+){5})(.*)$")
_FIELD = re.compile(r"^(\*|\d+)$")


def crontab() -> tuple[dict[str, str], list[str]]:
    """Variables and commands, as cron reads them (crontab(5)): a bare % ends the command."""
    variables: dict[str, str] = {}
    commands = []
    for line in CRONTAB.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        variable, entry = _VARIABLE.match(line), _ENTRY.match(line)
        if variable:
            variables[variable[1]] = variable[2]
            continue
        assert entry, line
        assert all(_FIELD.match(part) for part in entry[1].split()), line
        command = re.split(r"(?<!\\)%", entry[2])[0].replace("\\%", "%")
        commands.append(command)
    return variables, commands


@dataclass
class Task:
    """What a stand-in for Airflow keeps of a BashOperator."""

    task_id: str
    bash_command: str
    pool: str
    after: list[Task] = field(default_factory=list)

    def __rshift__(self, other: Task) -> Task:
        other.after.append(self)
        return other


class Dag:
    """A stand-in for Airflow's DAG."""

    def __init__(self, dag_id: str, **rules: Any) -> None:
        self.dag_id, self.rules = dag_id, rules

    def __enter__(self) -> Dag:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Task]:
    """The tasks of the DAG file, run with a stand-in for Airflow."""
    made: dict[str, Task] = {}

    def operator(**given: Any) -> Task:
        made[given["task_id"]] = Task(**given)
        return made[given["task_id"]]

    airflow, bash = ModuleType("airflow"), ModuleType("airflow.providers.standard.operators.bash")
    airflow.DAG = Dag  # type: ignore[attr-defined]
    bash.BashOperator = operator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "airflow", airflow)
    monkeypatch.setitem(sys.modules, "airflow.providers.standard.operators.bash", bash)
    runpy.run_path(str(DAG_FILE))
    return made


def sh(command: str, place: Place, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with what cron gives, and the environment of this project."""
    bare = {"HOME": str(place.folder), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "PROMO_SPARK_VENV": sys.prefix}
    if "JAVA_HOME" in os.environ:
        bare["JAVA_HOME"] = os.environ["JAVA_HOME"]
    run = ["/bin/sh", "-c", command]
    return subprocess.run(run, env={**bare, **variables}, capture_output=True, text=True, timeout=300, check=False)


def of_place(place: Place) -> str:
    return " ".join(["--config", str(ROOT / "conf/local.yaml"), "--config", str(SAMPLE), *place.settings()])


def test_the_lines_of_cron_are_complete() -> None:
    variables, commands = crontab()
    assert set(variables) == {"PROMO_SPARK_HOME", "PROMO_SPARK_OPTIONS", "PROMO_SPARK_LOGS"}
    assert len(commands) == 3
    for command in commands:
        (job,) = re.findall(r"jobs/\w+\.py", command)
        assert (ROOT / job).is_file()
        assert command.count('"') % 2 == 0
        assert set(re.findall(r"\$(\w+)", command)) <= set(variables)


def test_the_dag_compiles_and_orders_its_tasks(tasks: dict[str, Task], tmp_path: Path) -> None:
    py_compile.compile(str(DAG_FILE), cfile=str(tmp_path / "dag.pyc"), doraise=True)
    assert set(tasks) == {"pipeline", "export", "maintain"}
    assert tasks["export"].after == [tasks["pipeline"]]
    assert {task.pool for task in tasks.values()} == {"promo_spark"}
    for name, task in tasks.items():
        assert f"./spark-submit.sh jobs/{name}.py --config conf/local.yaml" in task.bash_command


@pytest.mark.end_to_end
@pytest.mark.slow
def test_the_lines_of_cron_run_in_its_bare_environment(tmp_path: Path) -> None:
    place = make_place(tmp_path / "place")
    _, commands = crontab()
    nightly, _, weekly = commands
    where = {"PROMO_SPARK_HOME": str(ROOT), "PROMO_SPARK_LOGS": str(tmp_path)}
    plan = sh(nightly, place, PROMO_SPARK_OPTIONS=f"{of_place(place)} --dry-run", **where)
    log = (tmp_path / "pipeline.log").read_text()
    assert (plan.returncode, plan.stdout, plan.stderr) == (0, "", ""), log
    assert "1. ingest" in log
    upkeep = sh(weekly, place, PROMO_SPARK_OPTIONS=of_place(place), **where)
    log = (tmp_path / "maintain.log").read_text()
    assert (upkeep.returncode, upkeep.stdout, upkeep.stderr) == (0, "", ""), log
    assert f"{place.warehouse}: no tables to look after" in log
    broken = sh(nightly, place, PROMO_SPARK_OPTIONS="--set nothing.like=this", **where)
    assert "the nightly plan ended with exit code 2" in broken.stdout
    assert "error:" in (tmp_path / "pipeline.log").read_text()


@pytest.mark.end_to_end
@pytest.mark.slow
def test_the_commands_of_the_dag_run(tasks: dict[str, Task], tmp_path: Path) -> None:
    place = make_place(tmp_path / "place")
    for task in tasks.values():
        command = task.bash_command.replace("/opt/promo_spark", str(ROOT)).replace(
            "{{ data_interval_end | ds }}", "2017-10-30"
        )
        assert "{{" not in command
        run = sh(f"{command} {' '.join(place.settings())} --dry-run", place)
        assert run.returncode == 0, run.stderr
