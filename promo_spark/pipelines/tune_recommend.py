"""The part of the search that is about lists, by factors or neighbours, judged by the last days before the date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.kernels.search_space import draw_points
from promo_spark.learning.trials import Trial
from promo_spark.measurement.ranking import backtest_recommendations
from promo_spark.pipelines.tune_trials import TrialBook
from promo_spark.recommend.factorisation import Factorisation, describe_factors, fit_factorisation
from promo_spark.recommend.lists import recommend_by_factors
from promo_spark.recommend.neighbours import ReferenceCustomers, draw_reference_customers, recommend_by_neighbours
from promo_spark.recommend.product_links import fit_item_neighbours, recommend_by_links
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from promo_spark.runtime import Stage

ListMaker = Literal["factors", "neighbours", "item_neighbours"]
_SETTLED, _TRIED = "settled", "tried"


@dataclass(frozen=True)
class _Window:
    """What was known at a cut.

    Attributes:
        cut: Lists are learnt from the days before it.
        tables: silver.products, and silver.order_lines up to the date of the search and none after.
        purchases: Before the cut.
        catalogue: Of the cut.
    """

    cut: date
    tables: Mapping[str, DataFrame]
    purchases: DataFrame
    catalogue: DataFrame


def search_lists(stage: Stage, book: TrialBook, subject: ListMaker) -> list[Trial]:
    """Try the settled settings and points of the space; none where there is nothing to learn from or judge by.

    Args:
        stage: The stage that searches.
        book: Keeps the trials.
        subject: What makes the lists.
    """
    tune, settled = stage.settings.tune, stage.settings.recommend
    space: dict[str, tuple[Any, ...]] = getattr(tune, subject).model_dump()
    in_force = {name: getattr(settled, name) for name in space}
    points = [in_force, *draw_points(space, in_force, tune.trials, stage.settings.seed)]
    named = [{f"recommend.{name}": value for name, value in point.items()} for point in points]
    known = [book.find(subject, settings) for settings in named]
    trials = [trial for trial in known if trial is not None]
    if len(trials) == len(points):
        return trials
    cut = stage.as_of_date - timedelta(days=tune.days)
    with _opened(stage, cut) as window, _settled_lists(stage, window, subject) as settled_lists:
        if settled_lists is None:
            stage.limitation(f"too little was bought before {cut} to learn {subject} from: they are not searched.")
            return []
        for point, settings, found in zip(points, named, known, strict=True):
            if found is not None:
                continue
            judged = _judged(stage, window, settled_lists, subject, None if point == in_force else point)
            if judged is None:
                stage.limitation(f"nothing was bought from {cut} on that {subject} could be judged by.")
                return []
            trials.append(book.keep(_trial(stage, subject, settings, judged, window), tries=len(points) - 1))
    return trials


def register_factors(stage: Stage, winner: Trial) -> None:
    """Fit the winner's factors on all days before the date, and register them as challenger."""
    chosen = {name.partition(".")[2]: value for name, value in winner.settings.items()}
    settings = stage.settings.recommend.model_copy(update=chosen)
    with _opened(stage, stage.as_of_date) as window, _factorised(stage, window, settings) as factorisation:
        if factorisation is None:
            return
        sample = factorisation.ratings.select("customer_index", "product_index").limit(5)
        scored = factorisation.model.transform(sample).select("prediction")
        stage.register_challenger("product_als", factorisation.model, sample, scored)


@contextmanager
def _opened(stage: Stage, cut: date) -> Iterator[_Window]:
    before = F.col("order_date") < F.lit(stage.as_of_date)
    tables = {"order_lines": stage.read(ORDER_LINES).where(before), "products": stage.read(PRODUCTS)}
    settings = stage.settings.recommend
    # The steps build the same plan again, and so find these rows.
    purchases = summarise_purchases(**tables, as_of_date=cut, settings=settings).persist()
    catalogue = list_catalogue(purchases=purchases, as_of_date=cut, settings=settings)
    try:
        yield _Window(cut, tables, purchases, catalogue)
    finally:
        purchases.unpersist()


def _trial_settings(stage: Stage, point: Mapping[str, Any]) -> RecommendSettings:
    return stage.settings.recommend.model_copy(update={**point, "list_length": stage.settings.tune.list_length})


@contextmanager
def _by_factors(stage: Stage, window: _Window, settings: RecommendSettings) -> Iterator[DataFrame | None]:
    with _factorised(stage, window, settings) as factorisation:
        yield (
            None
            if factorisation is None
            else recommend_by_factors(
                factors=describe_factors(factorisation=factorisation, as_of_date=window.cut),
                **window.tables,
                product_factors=factorisation.product_factors,
                as_of_date=window.cut,
                settings=settings,
                customer_blocks=factorisation.customer_blocks,
            )
        )


@contextmanager
def _by_neighbours(_stage: Stage, window: _Window, settings: RecommendSettings) -> Iterator[DataFrame | None]:
    reference = _reference(window, settings)
    yield (
        None
        if reference is None
        else recommend_by_neighbours(**window.tables, reference=reference, as_of_date=window.cut, settings=settings)
    )


@contextmanager
def _by_item_neighbours(stage: Stage, window: _Window, settings: RecommendSettings) -> Iterator[DataFrame | None]:
    reference = _reference(window, settings)
    yield (
        None
        if reference is None
        else recommend_by_links(
            **window.tables,
            links=fit_item_neighbours(spark=stage.spark, reference=reference, settings=settings),
            as_of_date=window.cut,
            settings=settings,
        )
    )


def _reference(window: _Window, settings: RecommendSettings) -> ReferenceCustomers | None:
    return draw_reference_customers(
        purchases=window.purchases, catalogue=window.catalogue, as_of_date=window.cut, settings=settings
    )


@contextmanager
def _factorised(stage: Stage, window: _Window, settings: RecommendSettings) -> Iterator[Factorisation | None]:
    found = fit_factorisation(
        purchases=window.purchases, catalogue=window.catalogue, settings=settings, seed=stage.settings.seed
    )
    try:
        yield found
    finally:
        if found is not None:
            for frame in (found.ratings, found.customers, found.products):
                frame.unpersist()


_MAKERS: dict[ListMaker, Callable[[Stage, _Window, RecommendSettings], AbstractContextManager[DataFrame | None]]] = {
    "factors": _by_factors,
    "neighbours": _by_neighbours,
    "item_neighbours": _by_item_neighbours,
}


@contextmanager
def _settled_lists(stage: Stage, window: _Window, subject: ListMaker) -> Iterator[DataFrame | None]:
    """The lists by the settled settings, made once; every trial is compared with them."""
    with _MAKERS[subject](stage, window, _trial_settings(stage, {})) as made:
        kept = None if made is None else _entered(stage, made, _SETTLED).persist()
        try:
            yield kept
        finally:
            if kept is not None:
                kept.unpersist()


def _judged(
    stage: Stage, window: _Window, settled_lists: DataFrame, subject: ListMaker, point: Mapping[str, Any] | None
) -> dict[str, Row] | None:
    """The figures, by metric, of the lists of a point, or of the settled ones; None where nothing could be judged."""
    if point is None:
        return _measured(stage, window, settled_lists, _SETTLED)
    with _MAKERS[subject](stage, window, _trial_settings(stage, point)) as made:
        if made is None:
            return None
        return _measured(stage, window, settled_lists.unionByName(_entered(stage, made, _TRIED)), _TRIED)


def _entered(stage: Stage, lists: DataFrame, model: str) -> DataFrame:
    """The lists that count, under the name they are compared by."""
    return lists.where(F.col("slot") == stage.settings.tune.slot).withColumn("model", F.lit(model))


def _measured(stage: Stage, window: _Window, lists: DataFrame, model: str) -> dict[str, Row] | None:
    tune = stage.settings.tune
    figures = backtest_recommendations(
        recommended=lists,
        **window.tables,
        as_of_date=window.cut,
        settings=BacktestSettings(days=tune.days, list_length=tune.list_length),
        recommend_settings=stage.settings.recommend,
        reference=_SETTLED,
    )
    own = figures.where(F.col("model") == model).collect()
    return {row.metric: row for row in own} if any(row.metric == _metric(stage) for row in own) else None


def _metric(stage: Stage) -> str:
    return f"ndcg_at_{stage.settings.tune.list_length}"


def _trial(
    stage: Stage, subject: str, settings: Mapping[str, Any], judged: Mapping[str, Row], window: _Window
) -> Trial:
    metric = _metric(stage)
    reached, compared = judged[metric], judged.get(f"{metric}_minus_{_SETTLED}")
    error = compared.standard_error if compared else 0.0
    return Trial(
        subject=subject,
        settings=settings,
        is_settled=compared is None,
        metric=metric,
        value=reached.value,
        standard_error=reached.standard_error,
        gain=compared.value if compared else 0.0,
        gain_error=float("inf") if error is None else error,  # a single customer proves nothing
        customers=reached.observation_count,
        first_date=window.cut,
        last_date=reached.last_date,
        figures={name: row.value for name, row in judged.items() if "_minus_" not in name and row.value is not None},
    )
