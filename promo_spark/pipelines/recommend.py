"""Recommend products to customers: every model of the settings beside the baselines it has to beat."""

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS, SERVED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES, PRODUCTS, RATINGS
from promo_spark.pipelines.recommend_models import MAKERS, Known
from promo_spark.recommend.baselines import recommend_by_baselines
from promo_spark.recommend.neighbours import draw_reference_customers
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from promo_spark.recommend.served import serve_lists
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Write every model's lists, then for each customer the list to use."""
    as_of_date, settings = stage.as_of_date, stage.settings.recommend
    tables = {"order_lines": stage.read(ORDER_LINES), "products": stage.read(PRODUCTS)}
    # The steps build the same plan again, and so find these rows.
    purchases = summarise_purchases(**tables, as_of_date=as_of_date, settings=settings).persist()
    catalogue = list_catalogue(purchases=purchases, as_of_date=as_of_date, settings=settings)
    lists = recommend_by_baselines(**tables, customers=stage.read(CUSTOMERS), as_of_date=as_of_date, settings=settings)
    reference = draw_reference_customers(
        purchases=purchases, catalogue=catalogue, as_of_date=as_of_date, settings=settings
    )
    if reference is None:
        stage.limitation(
            "fewer than two customers bought products that may be recommended: only popular products and own habits "
            "are listed."
        )
    if reference is None or "als" not in settings.models:
        stage.write(FACTORS, stage.read(FACTORS).limit(0))
    if reference is not None:
        known = Known(tables, purchases, catalogue, reference)
        for model in settings.models:
            made = MAKERS[model](stage, known)
            lists = lists if made is None else lists.unionByName(made)
    stage.write(RECOMMENDED_PRODUCTS, lists)
    stage.write(SERVED_PRODUCTS, serve_lists(lists=stage.read(RECOMMENDED_PRODUCTS), settings=settings))
    purchases.unpersist()


PIPELINE = Pipeline(
    name="recommend",
    summary="Recommend products to each customer by every model of the settings, and say which list to use.",
    reads=(ORDER_LINES, PRODUCTS, CUSTOMERS, RATINGS, SEGMENT_CUSTOMERS),
    writes=(FACTORS, RECOMMENDED_PRODUCTS, SERVED_PRODUCTS),
    run=run,
    settings=("recommend", "seed"),
    purpose="personalisation",
)
