"""Learn how segments respond to promotions."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.response import EFFECTS, PANEL, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS
from promo_spark.response.curves import lever_curves, offer_lifts
from promo_spark.response.effects import estimate_effects
from promo_spark.response.figures import curve_figure, importance_figure
from promo_spark.response.forecast_rows import forecast_rows, later_rows, usual_rows
from promo_spark.response.forecasters import Forecasters, fit_forecasters
from promo_spark.response.offer_depths import effective_depths
from promo_spark.response.panel import build_panel
from promo_spark.response.products import weigh_products
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

MODEL = "promotion_effect_{}"
# What an effect depends on; a plan with another budget stands on the same effects.
_OF_THE_PLAN = ("plan.weeks", "plan.bootstraps", "plan.block_weeks", "plan.interval_level")
_MANY_WITHOUT_CATEGORY = 0.01  # share of sales
_FORECAST_COLUMNS = ("predicted_amount", "low_amount", "high_amount")


def run(stage: Stage) -> None:
    """Lay out the panel, fit the forecasters on it, and value every offer."""
    _lay_out(stage)
    panel = stage.read(PANEL)
    depths = _measure_depths(stage)
    lifts = _learn(stage, panel, depths)
    effects = estimate_effects(
        panel=panel,
        planned_products=stage.read(PLANNED_PRODUCTS),
        product_features=stage.read(PRODUCT_FEATURES),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        as_of_date=stage.as_of_date,
        offers=stage.settings.promotions.offers,
        settings=stage.settings.plan,
        features=stage.settings.features,
        seed=stage.settings.seed,
        offer_lifts=lifts,
        offer_depths=depths,
    )
    written = stage.write(EFFECTS, effects)
    if written.accepted == 0:
        weeks = 3 * stage.settings.plan.block_weeks + 1
        stage.limitation(f"no effect of any offer could be estimated: it takes at least {weeks} full weeks of sales.")


def _lay_out(stage: Stage) -> None:
    settings, lines, prices = stage.settings, stage.read(ORDER_LINES), stage.read(PRICES)
    if prices.isEmpty():
        stage.limitation("there is no silver.prices: display and mailer are taken as 0 in every week.")
    if lines.where("retail_discount_amount IS NOT NULL OR coupon_match_amount IS NOT NULL").isEmpty():
        stage.limitation("order lines carry no discount: depth is taken as 0 in every week.")
    planned = weigh_products(
        order_lines=lines,
        products=stage.read(PRODUCTS),
        as_of_date=stage.as_of_date,
        settings=settings.response,
        features=settings.features,
    )
    if stage.write(PLANNED_PRODUCTS, planned).accepted == 0:
        stage.limitation("nothing sold in the look-back that may be planned: nothing can be planned.")
    tell_missing_categories(stage)
    panel = build_panel(
        order_lines=lines,
        prices=prices,
        planned_products=stage.read(PLANNED_PRODUCTS),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        as_of_date=stage.as_of_date,
    )
    stage.write(PANEL, panel)


def tell_missing_categories(stage: Stage) -> None:
    """Say how much is sold of products that stand for their own category."""
    sales = F.greatest(F.col("sales_amount"), F.lit(0))
    alone = F.when(F.col("category") == F.col("product_id"), sales).otherwise(F.lit(0))
    rate = stage.read(PRODUCT_FEATURES).agg((F.sum(alone) / F.nullif(F.sum(sales), F.lit(0))).cast("double"))
    found = rate.collect()[0][0] or 0.0
    if found >= _MANY_WITHOUT_CATEGORY:
        stage.limitation(
            f"{found:.1%} of sales are of products without a category: each of them is a category of its own, which "
            "seldom sells enough for an effect to show."
        )


def _learn(stage: Stage, panel: DataFrame, depths: DataFrame | None) -> DataFrame | None:
    """Fit and keep the forecasters; what the boosted trees see in each offer, none without enough weeks."""
    settings = stage.settings.response
    rows = forecast_rows(panel=panel, horizons_weeks=settings.horizons_weeks)
    if rows.isEmpty():
        stage.limitation("fewer than nine full weeks of sales: no forecast of sales is made.")
        return None
    stage.progress("fitting boosted trees, linear and ridge regression")
    weeks = panel.select("week_start_date").distinct().count()
    calibration = timedelta(weeks=settings.calibration_weeks)
    fitted = fit_forecasters(
        rows=rows,
        calibration_rows=later_rows(
            panel=panel, as_of_date=stage.as_of_date - calibration, weeks=settings.calibration_weeks
        ),
        as_of_date=stage.as_of_date,
        week_count=weeks,
        settings=settings,
        seed=stage.settings.seed,
    )
    if fitted.half_width == float("inf"):
        stage.limitation("too few weeks to size the forecast's interval: it is left out.")
    usual = usual_rows(panel=panel).persist()
    _keep(stage, fitted, usual)
    offers = stage.settings.promotions.offers
    return offer_lifts(model=fitted.models["gbt"], usual=usual, offers=offers, offer_depths=depths)


def _measure_depths(stage: Stage) -> DataFrame | None:
    """The depth that offers come to whose cost depends on baskets; none where there is no such offer."""
    offers = [offer for offer in stage.settings.promotions.offers if offer.is_priced_by_baskets]
    if not offers:
        return None
    depths = effective_depths(
        order_lines=stage.read(ORDER_LINES),
        planned_products=stage.read(PLANNED_PRODUCTS),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        as_of_date=stage.as_of_date,
        offers=offers,
        weeks=stage.settings.plan.weeks,
    ).persist()
    known = depths.toPandas()
    if not known.empty:
        means = known.groupby("offer_id")["effective_depth_rate"].mean()
        stage.metrics({f"effective_depth_{offer}": float(depth) for offer, depth in means.items()})
        stage.table("effective_depths", known.sort_values(["offer_id", "segment_id", "category"]))
    return depths


def _keep(stage: Stage, fitted: Forecasters, usual: DataFrame) -> None:
    sample = usual.select(*fitted.features, *[n for n in ("level", "spread") if n not in fitted.features]).limit(5)
    for name, model in fitted.models.items():
        stage.save_model(MODEL.format(name), model, sample, model.transform(sample).select(*_FORECAST_COLUMNS))
    curves = lever_curves(model=fitted.models["gbt"], usual=usual).where("lift_rate IS NOT NULL").toPandas()
    stage.metrics({f"importance_{name}": value for name, value in fitted.importance.items()})
    points = zip(
        curves["lever"].astype(str), curves["step"].astype(float), curves["lift_rate"].astype(float), strict=True
    )
    stage.metrics(
        {f"lift_{lever.removesuffix('_rate')}_plus_{100 * step:.0f}": lift for lever, step, lift in points if step > 0}
    )
    if fitted.half_width != float("inf"):
        stage.metrics({"interval_half_width_spreads": fitted.half_width})
    stage.figure("forecast_importance", importance_figure(fitted.importance))
    stage.figure("lever_curves", curve_figure(curves))
    stage.table("lever_curves", curves.sort_values(["lever", "step"]))


PIPELINE = Pipeline(
    name="response",
    summary="Learn how what each segment buys responds to discounts, displays and mailers.",
    reads=(ORDER_LINES, PRODUCTS, PRICES, PRODUCT_FEATURES, SEGMENT_CUSTOMERS),
    writes=(PLANNED_PRODUCTS, PANEL, EFFECTS),
    run=run,
    settings=("response", "features", "promotions", "seed", *_OF_THE_PLAN),
    purpose="personalisation",
)
