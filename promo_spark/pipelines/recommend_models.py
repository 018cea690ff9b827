"""The models of the recommend stage: each learns, keeps what it learnt, and says what lists it makes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from promo_spark.contracts.recommend import FACTORS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import RATINGS
from promo_spark.kernels.candidates import FEATURES, LEARNT_FROM
from promo_spark.recommend.content import describe_content, recommend_by_content
from promo_spark.recommend.factorisation import Factorisation, describe_factors, fit_factorisation
from promo_spark.recommend.hybrid import Hybrid, fit_hybrid, recommend_by_hybrid
from promo_spark.recommend.lists import recommend_by_factors
from promo_spark.recommend.neighbours import ReferenceCustomers, recommend_by_neighbours
from promo_spark.recommend.product_links import (
    fit_association_rules,
    fit_item_neighbours,
    recommend_by_links,
)
from promo_spark.recommend.ratings import fit_ratings, recommend_by_ratings
from promo_spark.recommend.segment_popularity import count_segment_buyers, recommend_by_segment
from promo_spark.runtime.stage import Stage


@dataclass(frozen=True)
class Known:
    """What all models start from.

    Attributes:
        tables: silver.order_lines and silver.products, by the names of the steps' arguments.
        purchases: Rows of ``summarise_purchases``, persisted.
        catalogue: Rows of ``list_catalogue``.
        reference: Customers that others are compared with, and the catalogue's ids.
    """

    tables: dict[str, DataFrame]
    purchases: DataFrame
    catalogue: DataFrame
    reference: ReferenceCustomers


def _by_neighbours(stage: Stage, known: Known) -> DataFrame:
    return recommend_by_neighbours(
        **known.tables,
        reference=known.reference,
        as_of_date=stage.as_of_date,
        settings=stage.settings.recommend,
    )


def _by_item_neighbours(stage: Stage, known: Known) -> DataFrame:
    settings = stage.settings.recommend
    stage.progress("linking products that the same customers buy")
    links = fit_item_neighbours(spark=stage.spark, reference=known.reference, settings=settings)
    return recommend_by_links(**known.tables, links=links, as_of_date=stage.as_of_date, settings=settings)


def _by_rules(stage: Stage, known: Known) -> DataFrame | None:
    settings = stage.settings.recommend
    stage.progress("mining rules from baskets")
    links = fit_association_rules(
        **known.tables, reference=known.reference, as_of_date=stage.as_of_date, settings=settings
    )
    stage.metrics({"association_rules": float(links.links.nnz)})
    if links.links.nnz == 0:
        stage.limitation(
            f"no two products are in {settings.rule_min_baskets} baskets together more often than by chance "
            "(recommend.rule_min_baskets): no lists by association rules."
        )
        return None
    return recommend_by_links(**known.tables, links=links, as_of_date=stage.as_of_date, settings=settings)


def _by_content(stage: Stage, known: Known) -> DataFrame | None:
    settings = stage.settings.recommend
    content = describe_content(
        purchases=known.purchases,
        products=known.tables["products"],
        reference=known.reference,
        as_of_date=stage.as_of_date,
        settings=settings,
    )
    if content is None:
        stage.limitation("nothing that silver.products says tells products apart: no lists by content.")
        return None
    stage.metrics({"cold_products": float(len(content.product_ids) - content.n_catalogue)})
    return recommend_by_content(**known.tables, content=content, as_of_date=stage.as_of_date, settings=settings)


def _by_segment(stage: Stage, known: Known) -> DataFrame | None:
    settings, segments = stage.settings.recommend, stage.read(SEGMENT_CUSTOMERS)
    popularity = count_segment_buyers(
        purchases=known.purchases,
        segments=segments,
        product_ids=known.reference.product_ids,
        as_of_date=stage.as_of_date,
        settings=settings,
    )
    if popularity is None:
        stage.limitation(
            "no customer of a segment bought products that may be recommended lately: no lists by segment."
        )
        return None
    return recommend_by_segment(
        **known.tables, segments=segments, popularity=popularity, as_of_date=stage.as_of_date, settings=settings
    )


def _by_hybrid(stage: Stage, known: Known) -> DataFrame | None:
    """Learn the second stage, keep its models, and make lists by it."""
    settings = stage.settings.recommend
    stage.progress("learning from earlier weeks")
    hybrid = fit_hybrid(
        **known.tables,
        catalogue=known.catalogue,
        as_of_date=stage.as_of_date,
        settings=settings,
        seed=stage.settings.seed,
    )
    if hybrid is None:
        stage.limitation("too little was bought in the earlier weeks to learn a second stage from: no hybrid lists.")
        return None
    _keep_hybrid(stage, hybrid)
    return recommend_by_hybrid(**known.tables, hybrid=hybrid, as_of_date=stage.as_of_date, settings=settings)


def _by_ratings(stage: Stage, known: Known) -> DataFrame | None:
    settings, ratings = stage.settings.recommend, stage.read(RATINGS)
    model = fit_ratings(
        ratings=ratings,
        products=known.tables["products"],
        as_of_date=stage.as_of_date,
        settings=settings,
        seed=stage.settings.seed,
    )
    if model is None:
        stage.limitation(
            "fewer than two customers, or than two products that enough customers rated "
            f"(recommend.min_customers is {settings.min_customers}): no lists by ratings."
        )
        return None
    sample = model.residuals.select("customer_index", "product_index").limit(5)
    stage.metrics({"mean_rating": model.mean, "rated_products": float(len(model.product_factors.product_ids))})
    scored = model.model.transform(sample).select("prediction")
    stage.save_model("product_rating_residuals", model.model, sample, scored)
    model.residuals.unpersist()
    return recommend_by_ratings(
        **known.tables, ratings=ratings, model=model, as_of_date=stage.as_of_date, settings=settings
    )


def _by_factors(stage: Stage, known: Known) -> DataFrame | None:
    """Write the factors, and make lists from what was written."""
    settings = stage.settings.recommend
    stage.progress("fitting latent factors")
    factorisation = fit_factorisation(
        purchases=known.purchases, catalogue=known.catalogue, settings=settings, seed=stage.settings.seed
    )
    if factorisation is None:
        stage.limitation(
            "fewer than two customers, or than two products that enough customers bought "
            f"(recommend.min_customers is {settings.min_customers}): no latent factors."
        )
        stage.write(FACTORS, stage.read(FACTORS).limit(0))
        return None
    stage.write(FACTORS, describe_factors(factorisation=factorisation, as_of_date=stage.as_of_date))
    _keep_factorisation(stage, factorisation)
    return recommend_by_factors(
        factors=stage.read(FACTORS),
        **known.tables,
        product_factors=factorisation.product_factors,
        as_of_date=stage.as_of_date,
        settings=settings,
        customer_blocks=factorisation.customer_blocks,
    )


def _keep_factorisation(stage: Stage, factorisation: Factorisation) -> None:
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
    for frame in (factorisation.ratings, factorisation.customers, factorisation.products):
        frame.unpersist()


def _keep_hybrid(stage: Stage, hybrid: Hybrid) -> None:
    for slot, ranker in hybrid.rankers.items():
        stage.metrics({f"ranker_{slot}_examples": float(ranker.example_count)})
        names = [FEATURES[column] for column in LEARNT_FROM[slot]]
        sample = pd.DataFrame(np.zeros((2, len(names))), columns=names)
        stage.register_classifier(f"product_ranker_{slot}", ranker.model, sample)


MAKERS: dict[str, Callable[[Stage, Known], DataFrame | None]] = {
    "neighbours": _by_neighbours,
    "als": _by_factors,
    "explicit_als": _by_ratings,
    "item_neighbours": _by_item_neighbours,
    "association_rules": _by_rules,
    "content": _by_content,
    "segment_popularity": _by_segment,
    "hybrid": _by_hybrid,
}
