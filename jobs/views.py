"""Write the masked views of each role as SQL, and make them where a metastore keeps them."""

from promo_spark.pipelines import views
from promo_spark.runtime.queries import run_query

if __name__ == "__main__":
    raise SystemExit(run_query(str(views.__doc__), views.add_arguments, views.answer))
