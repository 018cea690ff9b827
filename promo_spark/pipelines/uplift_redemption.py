"""Learn who redeems, keep the model and what is known of it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import LEARNERS, NO_ARM
from promo_spark.contracts.rows import local_frame
from promo_spark.response.redemption import fit_redemption, learner_figures, predict_redemption
from promo_spark.response.redemption_folds import RedemptionJudgement
from promo_spark.runtime.stage import Stage

MODEL = "redemption"
PROBABILITY = "redemption_prob"


def learn_redemption(stage: Stage, decisions: DataFrame, candidates: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Fit on past decisions and predict for the candidates.

    Args:
        stage: The running stage.
        decisions: response.decisions.
        candidates: response.candidates.

    Returns:
        The candidates with ``redemption_prob``, NULL where nothing was ever given, and rows of response.learners.
    """
    stage.progress("fitting who redeems")
    models = fit_redemption(decisions=decisions, settings=stage.settings.uplift, seed=stage.settings.seed)
    rows = learner_figures(models, stage.as_of_date)
    figures = local_frame(stage.spark, rows, LEARNERS.schema(all_nullable=True))
    if models.overall_rate is None:
        stage.limitation("no promotion was ever given: nothing is known of who redeems.")
        return candidates.withColumn(PROBABILITY, F.lit(None).cast("double")), figures
    if models.model is None:
        stage.limitation(
            "too few redeemed, or too few did not, to learn who does: rates of promotions of a kind are used."
        )
    else:
        sample = decisions.where(F.col("arm") != NO_ARM).select("arm", "covariates").limit(5)
        stage.save_model(MODEL, models.model, sample, models.model.transform(sample).select(PROBABILITY))
    chosen = next((one for one in models.judged if one.is_chosen), None)
    if chosen is not None:
        stage.metrics(
            {
                "redemption_auc": chosen.auc,
                "redemption_average_precision": chosen.average_precision,
                "redemption_ece_shift": chosen.ece_shift,
                "redemption_ece_shape": chosen.ece_shape,
            }
        )
        stage.figure("redemption_reliability", reliability_figure(chosen))
        told = pd.DataFrame(chosen.reliability, columns=["told_rate", "real_rate", "case_count"])
        stage.table("redemption_reliability", told)
    predicted = predict_redemption(rows=candidates, models=models)
    return predicted.select(*candidates.columns, PROBABILITY), figures


def reliability_figure(judged: RedemptionJudgement) -> Figure:
    """Told against real rates of redemption, by tenths of the customers, on decisions not learnt from."""
    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    told, real = judged.reliability[:, 0], judged.reliability[:, 1]
    top = 1.05 * float(max(told.max(), real.max(), 1e-6))
    axes.plot([0, top], [0, top], color="#9aa5b1", lw=1)
    axes.plot(told, real, "o-", color="#0b7285", ms=4)
    axes.set_xlabel("told probability")
    axes.set_ylabel("rate that redeemed")
    axes.set_title(f"{judged.model}: AUC {judged.auc:.3f}", fontsize=10)
    return figure
