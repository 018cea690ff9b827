"""What policies would have earned: sums in Spark, one small set of them per part of the customers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from threadpoolctl import threadpool_limits

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.off_policy import OFF_POLICY, POLICY_LOG
from promo_spark.contracts.off_policy_settings import OffPolicySettings
from promo_spark.contracts.step import produces
from promo_spark.kernels.off_policy import LOGGED, Log, LogSums, PolicyEstimate, estimate_policies, sum_log
from promo_spark.kernels.policy_words import refusal, tell_policy

Floats = NDArray[np.float64]
_PARTS = 128  # of the customers, by hash: one of a hundred million decisions fits a task
_DIGITS = 9
_SUMS = "part int, total array<double>, second array<double>, squares array<double>, supported array<double>, "
_SUMS += "resampled array<double>"


@produces(OFF_POLICY, policy_log=POLICY_LOG)
def value_policies(
    *,
    policy_log: DataFrame,
    policies: tuple[str, ...],
    followed: str | None,
    learnt_from: str,
    trimmed_rate: float,
    as_of_date: date,
    currency: str,
    settings: OffPolicySettings,
    seed: int,
) -> DataFrame:
    """Value every policy by every estimator, and refuse to conclude where the log does not support it.

    Args:
        policy_log: measurement.policy_log.
        policies: Names, the logged one first.
        followed: The policy that measurement.policy_values chose.
        learnt_from: randomised or observational.
        trimmed_rate: Share of the decisions that were left out for want of overlap; nothing supports a policy there.
        as_of_date: The day of the run.
        currency: Of values.
        settings: Limits of weights, resamples, and what it takes to conclude.
        seed: Of the resamples.

    Returns:
        measurement.off_policy; nothing for no decisions.
    """
    part = F.pmod(F.xxhash64("customer_id", F.lit(seed + 3)), F.lit(_PARTS)).cast("int")
    hashed = policy_log.withColumns({"part": part, "hash": F.xxhash64("customer_id", F.lit(seed))})
    sums = hashed.groupBy("part").applyInArrow(_adder(len(policies), settings), _SUMS)
    schema = OFF_POLICY.schema(all_nullable=True)
    shared = {"as_of_date": as_of_date, "learnt_from": learnt_from}

    def tell(table: pa.Table) -> pa.Table:
        total = _add_up(table)
        estimates = estimate_policies(total, policies, settings.clips, level=settings.interval_level, against=NO_ARM)
        scaled = [_scaled(one, 1 - trimmed_rate) for one in estimates]
        told = [
            {**_numbers(one), **_verdict(one, scaled, currency, settings), "is_followed": one.policy == followed}
            for one in scaled
        ]
        rows = [{**row, **shared, "decision_count": round(total.total[0])} for row in told]
        return pa.Table.from_pylist(rows, schema=to_arrow_schema(schema))

    return sums.groupBy().applyInArrow(tell, schema)


def _adder(n_policies: int, settings: OffPolicySettings) -> Callable[[pa.Table], pa.Table]:
    def add(rows: pa.Table) -> pa.Table:
        ordered = rows.sort_by([("customer_id", "ascending"), ("decision_id", "ascending")]).combine_chunks()
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            sums = sum_log(_to_log(ordered, n_policies), settings.clips, settings.bootstraps)
        parts = {name: [values.ravel().tolist()] for name, values in sums._asdict().items()}
        return pa.table({"part": pa.array(ordered.column("part").to_pylist()[:1], pa.int32()), **parts})

    return add


def _to_log(rows: pa.Table, n_policies: int) -> Log:
    expected, supported = _matrix(rows, "expected"), _matrix(rows, "supported")
    customers = rows.column("hash").to_numpy()
    names = rows.column("customer_id").combine_chunks().dictionary_encode()
    codes = names.chunk(0).indices if isinstance(names, pa.ChunkedArray) else names.indices
    return Log(
        rewards=rows.column("reward").to_numpy(),
        arms=rows.column("arm_index").to_numpy().astype(np.int64),
        propensities=rows.column("propensity").to_numpy(),
        expected=expected,
        chances=_matrix(rows, "chances").reshape(len(expected), n_policies - 1, expected.shape[1]),
        supported=supported > 0,
        clusters=codes.to_numpy().astype(np.int64),
        hashes=customers.astype(np.int64),
    )


def _matrix(rows: pa.Table, name: str) -> Floats:
    lists = pa.concat_arrays(rows.column(name).chunks)
    values: Floats = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(lists), -1)


def _add_up(table: pa.Table) -> LogSums:
    ordered = table.sort_by("part").to_pydict()
    total, second, squares, supported, resampled = (
        np.sum([np.asarray(one) for one in ordered[name]], axis=0)
        for name in ("total", "second", "squares", "supported", "resampled")
    )
    size = len(total)
    return LogSums(total, second.reshape(size, size), squares, supported, resampled.reshape(-1, size))


def _scaled(one: PolicyEstimate, kept: float) -> PolicyEstimate:
    """Nothing but the logged policy is supported where decisions were left out."""
    return one if one.policy == LOGGED else one._replace(support=one.support * kept)


def _verdict(
    one: PolicyEstimate, others: Sequence[PolicyEstimate], currency: str, settings: OffPolicySettings
) -> dict[str, object]:
    needed = {"min_support": settings.min_support_rate, "min_effective": settings.min_effective}
    refused = refusal(one, **needed)
    same = (other for other in others if (other.estimator, other.clip) == (one.estimator, one.clip))
    rival = next(other for other in same if other.policy == NO_ARM)
    told = tell_policy(
        one,
        against=NO_ARM,
        is_against_known=refusal(rival, **needed) is None,
        currency=currency,
        level=settings.interval_level,
    )
    return {"is_concluded": refused is None, "told": refused or told}


def _numbers(one: PolicyEstimate) -> dict[str, object]:
    numbers: dict[str, float] = {
        "value_amount": one.value,
        "standard_error": one.standard_error,
        "low_amount": one.interval[0],
        "high_amount": one.interval[1],
        "bootstrap_low_amount": one.bootstrap[0],
        "bootstrap_high_amount": one.bootstrap[1],
        "gain_amount": one.gain,
        "gain_error": one.gain_error,
        "effective_count": one.effective_size,
        "support_rate": one.support,
    }
    rounded = {name: None if np.isnan(value) else round(value, _DIGITS) for name, value in numbers.items()}
    return {"policy": one.policy, "estimator": one.estimator, "clip": one.clip, **rounded}
