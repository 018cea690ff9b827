"""The part of the segments stage that clusters what is sold and how it is promoted."""

from __future__ import annotations

from pyspark.sql import DataFrame

from promo_spark.contracts.features import PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_PRODUCTS, SEGMENT_PROMOTIONS
from promo_spark.contracts.table import TableContract
from promo_spark.runtime import Stage
from promo_spark.segments.entity_clusters import (
    PRODUCTS,
    PROMOTIONS,
    Kind,
    expect_redemptions,
    fit_entity_clusters,
    place_entities,
)


def cluster_entities(stage: Stage) -> None:
    """Cluster the products sold, and the promotions that started, before the date."""
    settings = stage.settings.segments
    products, promotions = stage.read(PRODUCT_FEATURES), stage.read(PROMOTION_FEATURES)
    _cluster(stage, PRODUCTS, products, SEGMENT_PRODUCTS, settings.product_cluster_counts)
    _cluster(stage, PROMOTIONS, expect_redemptions(promotions), SEGMENT_PROMOTIONS, settings.promotion_cluster_counts)


def _cluster(stage: Stage, kind: Kind, entities: DataFrame, contract: TableContract, counts: tuple[int, ...]) -> None:
    if entities.isEmpty():
        stage.limitation(f"no {kind.name} are known before the date: there are no clusters of them.")
        stage.write(contract, contract_frame(stage.spark, contract))
        return
    settings = stage.settings
    fit = fit_entity_clusters(
        entities, kind, counts=counts, smallest_rate=settings.segments.smallest_rate, seed=settings.seed
    )
    dropped = [name for name in kind.words if name not in fit.columns]
    if dropped:
        stage.limitation(f"{kind.name} are clustered without {', '.join(dropped)}: unknown or the same for all.")
    if len(fit.found.centres) == 1:
        stage.limitation(f"{kind.name} are too few ({fit.sampled}) or too alike for clusters.")
    # What judges rows would otherwise be pushed below the model, and compute each distance again for every check.
    placed = place_entities(entities=entities, model=fit.model, contract=contract).persist()
    stage.write(contract, placed)
    placed.unpersist()
    told = {"count": len(fit.found.centres), "silhouette": fit.found.silhouette, "stability_ari": fit.found.stability}
    stage.metrics({f"{kind.name}_cluster_{name}": value for name, value in told.items() if value is not None})
    sample = entities.select(kind.key, *fit.columns).limit(5)
    stage.save_model(f"{kind.name}_clusters", fit.model, sample, fit.model.transform(sample).select("cluster_id"))
