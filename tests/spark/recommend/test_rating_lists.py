"""Lists from ratings: a known world of biases and tastes is recovered, and lists are those of the prediction."""

from datetime import timedelta

import numpy as np
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import PRODUCTS, RATINGS
from promo_spark.recommend.ratings import RatingModel, fit_ratings, recommend_by_ratings
from tests.spark.recommend.shopping import DAY, MakeRows, lines_of

SETTINGS = RecommendSettings(
    list_length=3, min_customers=2, rating_rank=2, rating_regularisation=0.02, rating_prior=1.0, rating_iterations=8
)
N_CUSTOMERS, N_PRODUCTS = 60, 25


class World:
    """Ratings of 3.5 plus biases plus one taste, and a little noise; two thirds of all pairs are rated."""

    def __init__(self) -> None:
        dice = np.random.default_rng(9)
        self.truth = (
            3.5
            + dice.normal(0, 0.5, (N_CUSTOMERS, 1))
            + dice.normal(0, 0.5, N_PRODUCTS)
            + np.outer(dice.normal(0, 1, N_CUSTOMERS), dice.normal(0, 1, N_PRODUCTS))
        )
        self.is_rated = dice.random(self.truth.shape) < 0.67
        self.given = self.truth + dice.normal(0, 0.1, self.truth.shape)

    def rows(self, make_rows: MakeRows, seed: int = 0) -> DataFrame:
        pairs = np.random.default_rng(seed).permutation(np.argwhere(self.is_rated)).tolist()
        return make_rows(RATINGS, [rating_row(f"c{c:02}", f"p{p:02}", self.given[c, p]) for c, p in pairs])


def rating_row(customer: str, product: str, rating: float, age: int = 5) -> dict[str, object]:
    day = DAY - timedelta(days=age)
    return {"customer_id": customer, "product_id": product, "rating": float(rating), "rated_date": day}


def fitted(make_rows: MakeRows, ratings: DataFrame) -> RatingModel | None:
    return fit_ratings(ratings=ratings, products=make_rows(PRODUCTS, []), as_of_date=DAY, settings=SETTINGS, seed=3)


def predictions(model: RatingModel) -> dict[str, np.ndarray]:
    return {row.customer_id: model.product_factors.factors @ np.array(row.factors) for row in model.customers.collect()}


def test_ratings_never_given_are_told_better_than_by_biases(make_rows: MakeRows) -> None:
    world = World()
    model = fitted(make_rows, world.rows(make_rows))
    assert model is not None
    told = predictions(model)
    scores = np.array([told[f"c{c:02}"] for c in range(N_CUSTOMERS)])
    unrated = ~world.is_rated
    mean = world.given[world.is_rated].mean()
    assert model.mean == pytest.approx(mean, abs=1e-6)
    gaps = np.where(world.is_rated, world.given - mean, np.nan)
    by_biases = mean + np.nanmean(gaps, axis=0) + np.nanmean(gaps - np.nanmean(gaps, axis=0), axis=1, keepdims=True)
    error, of_biases = (np.sqrt(np.mean((s - world.truth)[unrated] ** 2)) for s in (scores, by_biases))
    # What is left is noise of 0.1 and shrinkage; biases alone miss the taste, whose deviation is about 1.
    assert error < 0.35
    assert of_biases > 0.7


def test_lists_hold_the_highest_predictions_and_novel_ones_nothing_met(make_rows: MakeRows) -> None:
    ratings = World().rows(make_rows)
    model = fitted(make_rows, ratings)
    assert model is not None
    told, names = predictions(model), model.product_factors.product_ids
    rows = recommend_by_ratings(
        order_lines=lines_of(make_rows, [("c00", "p03", 4), ("stranger", "p01", 4)]),
        products=make_rows(PRODUCTS, []),
        ratings=ratings,
        model=model,
        as_of_date=DAY,
        settings=SETTINGS,
    ).collect()
    met = {(row.customer_id, row.product_id) for row in ratings.collect()} | {("c00", "p03")}
    lists: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        lists.setdefault((row.customer_id, row.slot), []).append((row.product_id, row.score))
        assert row.is_repeat == ((row.customer_id, row.product_id) == ("c00", "p03"))
    assert {customer for customer, _ in lists} == set(told)
    for customer, scores in told.items():
        for slot in ("all", "novel"):
            may = [p for p in range(len(names)) if slot == "all" or (customer, names[p]) not in met]
            best = sorted(may, key=lambda p: -scores[p])[:3]
            assert [product for product, _ in lists.get((customer, slot), [])] == [names[p] for p in best]
            assert [score for _, score in lists.get((customer, slot), [])] == pytest.approx(scores[best], abs=1e-5)


@pytest.mark.slow
def test_neither_order_nor_the_future_nor_an_earlier_opinion_counts(make_rows: MakeRows) -> None:
    world, runs = World(), []
    later = [rating_row("c00", "p00", 9e5, age) for age in (0, -4)]
    earlier = [rating_row(f"c{c:02}", f"p{p:02}", -50, 30) for c, p in np.argwhere(world.is_rated)[:9]]
    for seed, more, parts in ((0, [], 1), (1, later + earlier, 5)):
        ratings = world.rows(make_rows, seed).unionByName(make_rows(RATINGS, more)).repartition(parts)
        model = fitted(make_rows, ratings)
        assert model is not None
        runs.append(predictions(model))
    assert runs[0].keys() == runs[1].keys()
    assert all((runs[0][customer] == runs[1][customer]).all() for customer in runs[0])


@pytest.mark.parametrize(
    "pairs", [[], ["ax", "ay"], ["ax", "bx"], ["ax", "by"]], ids=["none", "customer", "product", "too few raters"]
)
def test_too_few_ratings_make_no_model(make_rows: MakeRows, pairs: list[str]) -> None:
    assert fitted(make_rows, make_rows(RATINGS, [rating_row(c, p, 3.0) for c, p in pairs])) is None


def test_equal_ratings_are_told_as_they_are(make_rows: MakeRows) -> None:
    ratings = make_rows(RATINGS, [rating_row(c, p, 4.0) for c in "abc" for p in "xyz"])
    model = fitted(make_rows, ratings)
    assert model is not None
    assert np.allclose(list(predictions(model).values()), 4.0, atol=1e-5)
