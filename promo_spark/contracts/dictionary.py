"""Write the data dictionary from the contracts: ``python -m promo_spark.contracts.dictionary FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from promo_spark.contracts import TABLES
from promo_spark.contracts.table import TableContract

_HEAD = """# Tables

Generated from `promo_spark/contracts` by `make docs`; do not edit. On disk, `layer.entity` is the Delta
folder `<warehouse>/<layer>/<entity>` (`identity.*` lies under its own root). A row that breaks a check goes
to `<table>_rejected` with its reasons.

P marks personal columns (no file statistics), S sensitive ones, K the key. A required column refuses NULL.
"""


def dictionary() -> str:
    """The whole dictionary as Markdown."""
    layers = dict.fromkeys(table.layer for table in TABLES.values())
    index = "\n".join(
        f"- **{layer}**: "
        + ", ".join(f"[{t.entity}](#{t.layer}{t.entity})" for t in TABLES.values() if t.layer == layer)
        for layer in layers
    )
    return "\n".join((_HEAD, index, "", *(_section(table) for table in TABLES.values())))


def _section(table: TableContract) -> str:
    modes = {
        "dated": "replaced one as_of_date at a time",
        "merged": "newest row per key wins",
        "appended": "only grows",
    }
    lines = [
        f"## {table.name}",
        "",
        f"{table.grain[0].upper()}{table.grain[1:]}. Written: {modes[table.mode]}.",
        "",
        "| column | type | marks | meaning | unit |",
        "|---|---|---|---|---|",
    ]
    for column in table.columns:
        marks = [
            mark
            for mark, is_set in (
                ("K", column.name in table.key),
                ("required", column.name in table.required_columns and column.name not in table.key),
                ("P", column.personal),
                ("S", column.sensitive),
            )
            if is_set
        ]
        meaning = column.comment.replace("|", "\\|")
        lines.append(
            f"| `{column.name}` | {column.dtype.simpleString()} | {' '.join(marks)} | {meaning} | {column.unit or ''} |"
        )
    if table.checks:
        lines += ["", "Checks: " + "; ".join(f"`{check}`" for check in table.checks) + "."]
    return "\n".join((*lines, ""))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(dictionary(), encoding="utf-8")
