"""Print why a customer was, or was not, given a promotion."""

from promo_spark.pipelines import explain
from promo_spark.runtime.queries import run_query

if __name__ == "__main__":
    raise SystemExit(run_query(str(explain.__doc__), explain.add_arguments, explain.answer))
