"""Order lines for the tests of recommendations, told as who bought what how long ago."""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal

from pyspark.sql import DataFrame

from promo_spark.contracts.silver import ORDER_LINES

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]
Purchase = tuple[str | None, str, int]
"""Customer, product, days before the date."""


def lines_of(make_rows: MakeRows, purchases: Iterable[Purchase], **columns: bool | Decimal) -> DataFrame:
    """Rows as silver.order_lines, one line each; all purchases of a customer on a day are one basket."""
    rows = [
        {
            "basket_id": f"{customer}-{age}",
            "line_id": str(place),
            "customer_id": customer,
            "product_id": product,
            "order_date": DAY - timedelta(days=age),
            "quantity": Decimal(1),
            "is_return": False,
            **columns,
        }
        for place, (customer, product, age) in enumerate(purchases)
    ]
    return make_rows(ORDER_LINES, rows)
