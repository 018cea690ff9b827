"""Recommend products to customers: latent factors and neighbours beside the baselines they have to beat."""

from pyspark.sql import DataFrame

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.recommend.baselines import recommend_by_baselines
from promo_spark.recommend.factorisation import Factorisation, describe_factors, fit_factorisation
from promo_spark.recommend.hybrid import Hybrid, fit_hybrid, recommend_by_hybrid
from promo_spark.recommend.lists import recommend_by_factors
from promo_spark.recommend.neighbours import draw_reference_customers, recommend_by_neighbours
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Draw the neighbours and fit the factors, then write every model's lists."""
    as_of_date, settings = stage.as_of_date, stage.settings.recommend
    tables = {"order_lines": stage.read(ORDER_LINES), "products": stage.read(PRODUCTS)}
    # The steps build the same plan again, and so find these rows.
    purchases = summarise_purchases(**tables, as_of_date=as_of_date, settings=settings).persist()
    catalogue = list_catalogue(purchases=purchases, as_of_date=as_of_date, settings=settings)
    lists = recommend_by_baselines(**tables, as_of_date=as_of_date, settings=settings)
    reference = draw_reference_customers(
        purchases=purchases, catalogue=catalogue, as_of_date=as_of_date, settings=settings
    )
    if reference is None:
        stage.limitation("fewer than two customers bought products that may be recommended: no neighbours.")
    else:
        lists = lists.unionByName(
            recommend_by_neighbours(**tables, reference=reference, as_of_date=as_of_date, settings=settings)
        )
    stage.progress("fitting latent factors")
    factorisation = fit_factorisation(
        purchases=purchases, catalogue=catalogue, settings=settings, seed=stage.settings.seed
    )
    if factorisation is None:
        stage.limitation(
            "fewer than two customers, or than two products that enough customers bought "
            f"(recommend.min_customers is {settings.min_customers}): no latent factors."
        )
        stage.write(FACTORS, stage.read(FACTORS).limit(0))
    else:
        lists = lists.unionByName(_lists_by_factors(stage, factorisation, tables))
    hybrid = _fit_hybrid(stage, catalogue, tables)
    if hybrid is not None:
        lists = lists.unionByName(
            recommend_by_hybrid(**tables, hybrid=hybrid, as_of_date=as_of_date, settings=settings)
        )
    stage.write(RECOMMENDED_PRODUCTS, lists)
    if factorisation is not None:
        _keep(stage, factorisation)
        for frame in (factorisation.ratings, factorisation.customers, factorisation.products):
            frame.unpersist()
    purchases.unpersist()


def _fit_hybrid(stage: Stage, catalogue: DataFrame, tables: dict[str, DataFrame]) -> Hybrid | None:
    """Learn the second stage, where the settings ask for it, and keep its models."""
    settings = stage.settings.recommend
    if not settings.hybrid_enabled:
        return None
    stage.progress("learning from earlier weeks")
    hybrid = fit_hybrid(
        **tables, catalogue=catalogue, as_of_date=stage.as_of_date, settings=settings, seed=stage.settings.seed
    )
    if hybrid is None:
        stage.limitation("too little was bought in the earlier weeks to learn a second stage from: no hybrid lists.")
        return None
    for slot, ranker in hybrid.rankers.items():
        stage.metrics({f"ranker_{slot}_examples": float(ranker.example_count)})
        scored = ranker.model.transform(ranker.sample)
        stage.save_model(f"product_ranker_{slot}", ranker.model, ranker.sample, scored.select("prediction"))
    return hybrid


def _lists_by_factors(stage: Stage, factorisation: Factorisation, tables: dict[str, DataFrame]) -> DataFrame:
    """Write the factors, and make lists from what was written."""
    stage.write(FACTORS, describe_factors(factorisation=factorisation, as_of_date=stage.as_of_date))
    return recommend_by_factors(
        factors=stage.read(FACTORS),
        **tables,
        product_factors=factorisation.product_factors,
        as_of_date=stage.as_of_date,
        settings=stage.settings.recommend,
        customer_blocks=factorisation.customer_blocks,
    )


def _keep(stage: Stage, factorisation: Factorisation) -> None:
    stage.metrics(
        {
            "factorised_customers": float(factorisation.customer_count),
            "factorised_products": float(len(factorisation.product_factors.product_ids)),
            "factorised_pairs": float(factorisation.rating_count),
            "sparsity_rate": factorisation.sparsity_rate,
        }
    )
    sample = factorisation.ratings.select("customer_index", "product_index").limit(5)
    scored = factorisation.model.transform(sample)
    stage.save_model("product_als", factorisation.model, sample, scored.select("prediction"))


PIPELINE = Pipeline(
    name="recommend",
    summary="Recommend products to each customer: latent factors, neighbours, popularity and personal frequency.",
    reads=(ORDER_LINES, PRODUCTS),
    writes=(FACTORS, RECOMMENDED_PRODUCTS),
    run=run,
    settings=("recommend", "seed"),
)
