"""Sales of customers whose ids are found wherever they stand."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any


def source_of(folder: Path) -> dict[str, Any]:
    columns = {
        **{"basket_id": "receipt", "line_id": "line", "customer_id": "client", "product_id": "article"},
        **{"ordered_at": "at", "quantity": "units", "sales_amount": "amount"},
    }
    lines = {"format": "csv", "path": f"{folder}/lines", "columns": columns}
    return {"kind": "files", "time_zone": "UTC", "name": "canaries", "tables": {"order_lines": lines}}


def canary(customer: int) -> str:
    return f"CANARY-{customer:04d}-QX"


def sell(folder: Path, name: str, *, customers: range, first: date, weeks: int) -> None:
    """A file of baskets, one record of which has no day, and one is cut short."""
    draw = random.Random(7)  # noqa: S311  (made-up sales)
    lines = ["receipt,line,client,article,at,units,amount"]
    for customer in customers:
        for week in range(weeks):
            at = datetime.combine(first, datetime.min.time()) + timedelta(weeks=week, days=draw.randrange(7), hours=10)
            for line in range(draw.randrange(4)):
                article, units = f"P{draw.randrange(12):02d}", draw.randrange(1, 4)
                receipt = f"{name}-{customer}-{week}"
                lines.append(f"{receipt},{line},{canary(customer)},{article},{at},{units},{units * 2.5:.2f}")
    lines.append(f"{name}-broken,1,{canary(customers[0])},P01,not a day,1,1.00")
    lines.append(f"{name}-cut,1,{canary(customers[-1])}")
    (folder / "lines").mkdir(exist_ok=True)
    (folder / "lines" / f"{name}.csv").write_text("\n".join(lines) + "\n")
