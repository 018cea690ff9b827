"""Search settings and learners on the days before the date, and register what wins as challenger.

The pipeline itself runs with settled settings; this takes its time. It needs what ingest left, and no other stage.
Nothing on or after the date is looked at: lists are learnt up to some weeks before the date and judged by those
weeks, churn and spend are learnt from one horizon and judged on the next. Every trial is compared with the settled
settings on the same customers, and only what is ahead by more than chance among all trials of its subject wins.

What is searched is the section tune of the settings: subjects (factors, neighbours, item_neighbours, churn, spend), the
values of each setting, the most trials, and the days by which they are judged. What wins is printed, and written to
tune.overlay_file, as a settings file for the pipeline. For instance:

  --set tune.subjects=[factors] --set tune.trials=20 --set tune.factors.rank=[32,64,96]
"""

from __future__ import annotations

from promo_spark.contracts.learning import LEARNING
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.tune_settings import Subject
from promo_spark.learning.trials import Trial, best_ahead, overlay
from promo_spark.pipelines.tune_behaviour import register_learner, search_learners
from promo_spark.pipelines.tune_recommend import register_factors, search_lists
from promo_spark.pipelines.tune_trials import TrialBook, told
from promo_spark.runtime import Pipeline, Stage


def run(stage: Stage) -> None:
    """Search each subject, register the winners, and write their settings as an overlay."""
    book = TrialBook(stage)
    winners: list[Trial] = []
    for subject in dict.fromkeys(stage.settings.tune.subjects):
        trials = _search(stage, book, subject)
        winner = best_ahead(trials)
        stage.metrics({f"{subject}_trials": len(trials), f"{subject}_gain": winner.gain if winner else 0.0})
        if winner is not None:
            winners.append(winner)
            _register(stage, subject, winner)
        elif trials:
            stage.progress(f"{subject}: nothing is ahead of the settled settings by more than chance")
    text = overlay(winners, as_of_date=stage.as_of_date)
    place = stage.write_overlay(stage.settings.tune.overlay_file, text)
    stage.progress(f"written to {place}:\n{text}")


def _search(stage: Stage, book: TrialBook, subject: Subject) -> list[Trial]:
    match subject:
        case "factors" | "neighbours" | "item_neighbours":
            return search_lists(stage, book, subject)
        case "churn" | "spend":
            return search_learners(stage, book, subject)


def _register(stage: Stage, subject: Subject, winner: Trial) -> None:
    stage.progress(f"{subject}: {told(winner.settings)} wins")
    match subject:
        case "factors":
            register_factors(stage, winner)
        case "neighbours" | "item_neighbours":
            stage.progress("neighbours are no fitted model: the settings are all there is to take over")
        case "churn" | "spend":
            register_learner(stage, subject, winner)


PIPELINE = Pipeline(
    name="tune",
    summary="Search settings and learners on the days before the date, and register what wins as challenger.",
    reads=(ORDER_LINES, PRODUCTS),
    writes=LEARNING,
    run=run,
    settings=("tune", "recommend", "segments", "seed"),
    purpose="personalisation",
)
