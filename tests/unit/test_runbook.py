"""The runbook knows every kind of fault, and every message that the code may end with."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from promo_spark import errors

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/how-to/runbook.md").read_text(encoding="utf-8")
RUN = (ROOT / "docs/how-to/run.md").read_text(encoding="utf-8")
KINDS = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PromoSparkError) and kind is not errors.PromoSparkError
}


def section(name: str) -> str:
    """The runbook's section of a kind of fault; empty where it has none."""
    heading = re.escape(f"## {KINDS[name].exit_code} `{name}`")
    found = re.search(rf"^{heading}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def literal(node: ast.AST) -> str:
    """The constant words of a message; what is filled in is left out."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return literal(node.left) + literal(node.right)
    return ""


def messages() -> Iterator[tuple[str, str, str]]:
    """Every fault that the code makes: kind, place, constant words; those put together elsewhere are left out."""
    for module in sorted((ROOT / "promo_spark").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                words = literal(node.args[0])
                if words:
                    yield node.func.id, f"{module.relative_to(ROOT)}:{node.lineno}", words


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_fault_has_its_section_and_code(name: str) -> None:
    code = KINDS[name].exit_code
    assert section(name), f"docs/how-to/runbook.md lacks a section '## {code} `{name}`'"
    assert f"| {code} | `{name}` |" in RUNBOOK
    assert re.search(rf"^\| {code} \|", RUN, re.MULTILINE), f"docs/how-to/run.md lacks exit code {code}"


def test_no_two_kinds_share_a_code() -> None:
    codes = [kind.exit_code for kind in KINDS.values()]
    assert len(set(codes)) == len(codes)


def test_every_message_is_in_the_runbook() -> None:
    known = {name: re.findall(r"`([^`]+)`", section(name)) for name in KINDS}
    missing = [
        f"{name} ({place}): {words}"
        for name, place, words in messages()
        if not any(fragment in words for fragment in known[name])
    ]
    assert not missing, "the runbook does not say what to do:\n" + "\n".join(missing)
    assert len(list(messages())) > 60
