"""Steps: pure functions from frames to one frame that a contract describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from promo_spark.contracts.table import TableContract

P = ParamSpec("P")


@dataclass(frozen=True)
class Step:
    """A registered step: what it makes, and which argument takes which table."""

    name: str
    produces: TableContract
    inputs: dict[str, TableContract]
    function: Callable[..., DataFrame]


STEPS: dict[str, Step] = {}


def produces(
    contract: TableContract, *, keep: tuple[str, ...] = (), **inputs: TableContract
) -> Callable[[Callable[P, DataFrame]], Callable[P, DataFrame]]:
    """Declare that a function turns the named inputs into rows of a table.

    The frame it returns is brought into the contract's columns, order and types when the plan is
    analysed, without a Spark job; a missing column or a wrong type raises ``AnalysisException``.
    The contract tests pick the step up from ``STEPS`` without anyone remembering.

    Args:
        contract: Table whose rows the function returns.
        keep: Columns that stay beside the contract's, such as the ``faults`` that the gate reads.
        **inputs: For each frame argument, the table it takes.
    """

    def register(function: Callable[P, DataFrame]) -> Callable[P, DataFrame]:
        @wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> DataFrame:
            frame = function(*args, **kwargs)
            kept = [frame.schema[name] for name in keep]
            return frame.to(T.StructType([*contract.schema(all_nullable=True), *kept]))

        name = f"{function.__module__}.{function.__name__}"
        STEPS[name] = Step(name, contract, inputs, step)
        return step

    return register
