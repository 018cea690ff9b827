"""What the response stage says of products that nobody put into a category."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.table import TableContract
from promo_spark.pipelines.response import tell_missing_categories
from tests.conftest import MakeRows


@dataclass
class FakeStage:
    """Hands out features.products and keeps what is said."""

    products: DataFrame
    limitations: list[str] = field(default_factory=list)

    def read(self, contract: TableContract) -> DataFrame:
        assert contract is PRODUCT_FEATURES
        return self.products

    def limitation(self, message: str) -> None:
        self.limitations.append(message)


@pytest.mark.parametrize(("sales", "said"), [("9.99", None), ("60.00", "5.7% of sales are of products without")])
def test_many_sales_without_a_category_are_told(make_rows: MakeRows, sales: str, said: str | None) -> None:
    rows = [
        {"product_id": "a", "category": "TEA", "sales_amount": Decimal("1000.00")},
        {"product_id": "b", "category": "b", "sales_amount": Decimal(sales)},
        {"product_id": "c", "category": "c", "sales_amount": Decimal("-500.00")},  # returns weigh nothing
    ]
    stage = FakeStage(make_rows(PRODUCT_FEATURES, rows))
    tell_missing_categories(stage)  # type: ignore[arg-type]  # stands in for a stage
    assert [text.startswith(said) for text in stage.limitations] == ([True] if said else [])


def test_nothing_is_said_of_nothing(make_rows: MakeRows) -> None:
    stage = FakeStage(make_rows(PRODUCT_FEATURES, []))
    tell_missing_categories(stage)  # type: ignore[arg-type]  # stands in for a stage
    assert stage.limitations == []
