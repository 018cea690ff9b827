"""Winsorising and imputing with values fitted on the customers themselves, all known before the date.

Values that are the same for everyone are one row of exact percentiles, means and modes, broadcast to the customers, so
that a step stays lazy; those of each customer's own come from an imputer that was fitted before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.imputation import Imputer, add_learnt_values, learnt_column, learnt_methods
from promo_spark.features.measures import exact_mean

IMPUTED = "imputed_columns"


def fit_and_fill(
    *,
    customers: DataFrame,
    winsorised: Sequence[str],
    quantile: float,
    methods: Mapping[str, str],
    imputer: Imputer | None = None,
) -> DataFrame:
    """Fill NULLs by a fitted value, name what was filled, and pull tails in to their quantiles.

    A column that is NULL for everyone has no fitted value: it stays NULL and is not named.

    Args:
        customers: One row per customer.
        winsorised: Columns of doubles whose tails are pulled in to the quantile and its complement.
        quantile: Upper quantile, exact.
        methods: For each column of doubles to impute ``mean``, ``median``, or ``mode`` (the smallest, among
            equals); ``neighbours`` or ``regression`` where the imputer was fitted for it, with the median where
            the imputer has nothing to say.
        imputer: Fitted on these customers.

    Returns:
        The same rows with ``imputed_columns``, in the order of ``methods``.

    Raises:
        ValueError: A column is to be filled by neighbours or regression, and no imputer was fitted for it.
    """
    learnt = learnt_methods(methods)
    if learnt != (dict(imputer.methods) if imputer else {}):
        raise ValueError(f"no imputer was fitted for {', '.join(learnt) or 'any column'}: see fit_imputer")
    tails = F.array(F.lit(round(1 - quantile, 12)), F.lit(quantile))
    limits = [F.percentile(name, tails).alias(f"_limits_{name}") for name in winsorised]
    fits = [_fitted(name, method).alias(f"_fit_{name}") for name, method in methods.items()]
    fitted_once = F.broadcast(customers.agg(F.count("*").alias("_customers"), *limits, *fits))
    told = add_learnt_values(customers=customers, imputer=imputer) if imputer else customers
    fitted = told.crossJoin(fitted_once)
    filled = {name: F.col(name).isNull() & F.col(f"_fit_{name}").isNotNull() for name in methods}
    named = [F.when(is_filled, F.lit(name)) for name, is_filled in filled.items()]
    own = {name: [F.col(learnt_column(name))] if name in learnt else [] for name in methods}
    values = {name: F.coalesce(F.col(name), *own[name], F.col(f"_fit_{name}")) for name in methods}
    pulled = {name: _pull(values.get(name, F.col(name)), F.col(f"_limits_{name}")) for name in winsorised}
    names = F.array_compact(F.array(F.lit(None).cast("string"), *named))
    return fitted.withColumns({**values, **pulled, IMPUTED: names})


def _fitted(name: str, method: str) -> Expression:
    if method == "mean":
        return exact_mean(F.col(name))
    if method == "mode":
        return F.mode(name, deterministic=True)
    return F.percentile(name, 0.5)


def _pull(value: Expression, limits: Expression) -> Expression:
    # greatest and least pass over NULL, so what is unknown would become a limit.
    return F.when(value.isNotNull(), F.greatest(limits[0], F.least(value, limits[1])))
