"""Recommend products to customers: latent factors beside the baselines they have to beat."""

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.recommend.baselines import recommend_by_baselines
from promo_spark.recommend.factorisation import Factorisation, describe_factors, fit_factorisation
from promo_spark.recommend.lists import recommend_by_factors
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Fit the factors, then write every model's lists."""
    order_lines, products = stage.read(ORDER_LINES), stage.read(PRODUCTS)
    as_of_date, settings = stage.as_of_date, stage.settings.recommend
    # The steps build the same plan again, and so find these rows.
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    ).persist()
    catalogue = list_catalogue(purchases=purchases, as_of_date=as_of_date, settings=settings)
    lists = recommend_by_baselines(order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings)
    stage.progress("fitting latent factors")
    factorisation = fit_factorisation(
        purchases=purchases, catalogue=catalogue, settings=settings, seed=stage.settings.seed
    )
    if factorisation is None:
        stage.limitation(
            "fewer than two customers, or than two products that enough customers bought "
            f"(recommend.min_customers is {settings.min_customers}): no latent factors, only the baselines."
        )
        stage.write(FACTORS, stage.read(FACTORS).limit(0))
    else:
        stage.write(FACTORS, describe_factors(factorisation=factorisation, as_of_date=as_of_date))
        lists = lists.unionByName(
            recommend_by_factors(
                factors=stage.read(FACTORS),
                order_lines=order_lines,
                products=products,
                product_factors=factorisation.product_factors,
                as_of_date=as_of_date,
                settings=settings,
                customer_blocks=factorisation.customer_blocks,
            )
        )
    stage.write(RECOMMENDED_PRODUCTS, lists)
    if factorisation is not None:
        _keep(stage, factorisation)
        for frame in (factorisation.ratings, factorisation.customers, factorisation.products):
            frame.unpersist()
    purchases.unpersist()


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
    summary="Recommend products to each customer: latent factors, popularity and personal frequency.",
    reads=(ORDER_LINES, PRODUCTS),
    writes=(FACTORS, RECOMMENDED_PRODUCTS),
    run=run,
    settings=("recommend", "seed"),
)
