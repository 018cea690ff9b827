"""Bring a warehouse of an earlier version up to date, or say what stands in the way."""

from promo_spark.pipelines import migrate
from promo_spark.runtime.queries import run_query

if __name__ == "__main__":
    summary = str(migrate.__doc__)
    raise SystemExit(
        run_query(summary, migrate.add_arguments, migrate.answer, holds_warehouse=True, amid_erasures=True)
    )
