"""Keep the warehouse up: compact small files, remove what no version needs any more."""

from promo_spark.pipelines import maintain
from promo_spark.runtime.queries import run_query

if __name__ == "__main__":
    raise SystemExit(run_query(str(maintain.__doc__), maintain.add_arguments, maintain.answer, holds_warehouse=True))
