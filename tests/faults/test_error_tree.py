"""Every error a user can meet is raised by at least one test, and has an exit code of its own."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import promo_spark
from promo_spark.errors import PromoSparkError
from tests.conftest import ROOT
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("every error of the tree is raised by a test")]
RESERVED = {0, 1, 70, 130}


def below(error: type[PromoSparkError]) -> Iterator[type[PromoSparkError]]:
    for child in error.__subclasses__():
        yield child
        yield from below(child)


@pytest.fixture(scope="module")
def errors() -> set[type[PromoSparkError]]:
    """Of the whole package, wherever they are declared."""
    for module in pkgutil.walk_packages(promo_spark.__path__, "promo_spark."):
        importlib.import_module(module.name)
    return {error for error in below(PromoSparkError) if error.__module__.startswith("promo_spark.")}


def raised_in(path: Path) -> set[str]:
    """Names in ``pytest.raises(...)``: such a test passes only where the error is raised."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    first = [call.args[0] for call in calls if ast.unparse(call.func) == "pytest.raises" and call.args]
    return {part.id for node in first for part in ast.walk(node) if isinstance(part, ast.Name)}


def test_every_error_is_raised_by_a_test(errors: set[type[PromoSparkError]], shown: Shown) -> None:
    raised: set[str] = set().union(*(raised_in(path) for path in (ROOT / "tests").rglob("test_*.py")))
    assert not sorted({error.__name__ for error in errors} - raised)
    shown(len(errors), "errors")


def test_every_error_has_an_exit_code_of_its_own(errors: set[type[PromoSparkError]]) -> None:
    codes = sorted(error.exit_code for error in errors)
    assert len(set(codes)) == len(codes)
    assert not RESERVED & set(codes)
