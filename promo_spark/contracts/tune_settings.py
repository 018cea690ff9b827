"""What ``jobs/tune.py`` searches, and by how much something must be ahead. The pipeline itself does not look at it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from promo_spark.contracts.source_settings import Frozen

ChurnModel = Literal["logistic", "tree", "forest", "svm", "gbt"]
SpendModel = Literal["linear", "tree", "forest", "gbt", "blend"]
ItemWeighting = Literal["cosine", "tfidf", "bm25"]
Subject = Literal["factors", "neighbours", "item_neighbours", "churn", "spend"]
Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class FactorSpace(Frozen):
    """Values of the settings of the same names in ``recommend``, for latent factors."""

    rank: tuple[Whole, ...] = Field(default=(16, 32, 64, 128), min_length=1)
    iterations: tuple[Whole, ...] = Field(default=(4, 8), min_length=1)
    regularisation: tuple[Share, ...] = Field(default=(0.02, 0.05, 0.1, 0.2), min_length=1)
    confidence_alpha: tuple[Positive, ...] = Field(default=(0.1, 0.3, 1.0, 3.0), min_length=1)


class NeighbourSpace(Frozen):
    """Values of the settings of the same names in ``recommend``, for neighbours."""

    neighbours: tuple[Whole, ...] = Field(default=(100, 200, 300, 500), min_length=1)
    neighbour_power: tuple[Share, ...] = Field(default=(1.0, 2.0, 4.0), min_length=1)
    neighbour_weight: tuple[Share, ...] = Field(default=(0.05, 0.1, 0.2, 0.4), min_length=1)


class ItemNeighbourSpace(Frozen):
    """Values of the settings of the same names in ``recommend``, for products that the same customers buy."""

    item_weighting: tuple[ItemWeighting, ...] = Field(default=("cosine", "tfidf", "bm25"), min_length=1)
    item_neighbours: tuple[Whole, ...] = Field(default=(50, 100, 200), min_length=1)


class TuneSettings(Frozen):
    """The search: subjects, spaces, and the days before the date by which trials are judged."""

    subjects: tuple[Subject, ...] = Field(
        default=("factors", "neighbours", "churn", "spend"), min_length=1, description="What is searched, in order"
    )
    trials: int = Field(
        default=8, ge=1, description="Most settings tried of each maker of lists, beside the settled ones"
    )
    days: int = Field(
        default=28, ge=7, description="Last days before the date, by which lists learnt from earlier days are judged"
    )
    list_length: int = Field(default=10, ge=1, description="How much of each list counts")
    slot: Literal["all", "novel"] = Field(
        default="all", description="Lists that are judged: of everything, or of what is new to a customer"
    )
    false_win_rate: float = Field(
        default=0.05, gt=0, lt=0.5, description="Probability of a winner where nothing is better, per subject"
    )
    overlay_file: str = Field(default="conf/tuned.yaml", description="Where the winners' settings are written")
    factors: FactorSpace = FactorSpace()
    neighbours: NeighbourSpace = NeighbourSpace()
    item_neighbours: ItemNeighbourSpace = ItemNeighbourSpace()
    churn_models: tuple[ChurnModel, ...] = Field(default=("logistic", "tree", "forest", "svm", "gbt"), min_length=1)
    spend_models: tuple[SpendModel, ...] = Field(default=("linear", "tree", "forest", "gbt", "blend"), min_length=1)
