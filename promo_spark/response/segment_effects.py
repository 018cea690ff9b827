"""One segment's effects: the arithmetic of `estimate_effects` on the segment's panel, in NumPy and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from promo_spark.contracts.offers import Offer
from promo_spark.kernels.block_bootstrap import (
    Interval,
    alternating_folds,
    block_bootstrap_weights,
    count_blocks,
    interval,
)
from promo_spark.kernels.offer_values import lifts, offer_values
from promo_spark.kernels.shrinkage import bootstrap_variances, shrink_draws, shrink_effects
from promo_spark.kernels.weekly_effects import fit_effects

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVERS = ("depth_rate", "display_rate", "mailer_rate")
_RECENT_WEEKS = 8
_MIN_BLOCKS = 2  # per fold: fewer cannot tell how much weeks differ


@dataclass(frozen=True)
class Trial:
    """How effects are estimated.

    Attributes:
        offers: Offers to value.
        weeks: Weeks an offer is held.
        bootstraps: Resamples of blocks of weeks.
        block_weeks: Weeks in a block.
        level: Coverage of the intervals.
        seed: Seed of the resamples.
    """

    offers: tuple[Offer, ...]
    weeks: int
    bootstraps: int
    block_weeks: int
    level: float
    seed: int

    @property
    def settings(self) -> Floats:
        """What each offer adds to the levers by itself, shape (n_offers, n_levers)."""
        return np.array([[getattr(offer, name) for name in LEVERS] for offer in self.offers], dtype=np.float64)

    @property
    def own_share(self) -> Floats:
        """Share of each offer's discount that no vendor bears, shape (n_offers,)."""
        return 1.0 - np.array([offer.vendor_share_rate for offer in self.offers], dtype=np.float64)

    def settings_of(self, heads: pd.DataFrame) -> Floats:
        """The same for each cell, shape (n_cells, n_offers, n_levers): depth is the one an offer comes to there."""
        settings = np.repeat(self.settings[None], len(heads), axis=0)
        for place, offer in enumerate(self.offers):
            if depth_column(offer) in heads:
                depth = heads[depth_column(offer)].to_numpy(dtype=np.float64)
                settings[:, place, 0] = np.where(np.isfinite(depth), depth, offer.depth_rate)
        return settings


def depth_column(offer: Offer) -> str:
    """Column of a panel that holds the depth an offer comes to in the row's segment and category."""
    return f"depth_of_{offer.offer_id}"


class _Panel(NamedTuple):
    """A segment's panel.

    sales (n_cells, n_weeks); levers (n_cells, n_weeks, n_levers); traffic (n_weeks,); base, usual_depth and
    margin_rate (n_cells,); added, what each offer adds to the levers (n_cells, n_offers, n_levers).
    """

    sales: Floats
    levers: Floats
    traffic: Floats
    base: Floats
    usual_depth: Floats
    margin_rate: Floats
    added: Floats


class _Money(NamedTuple):
    """Amounts over an offer's weeks, each of shape (..., n_cells, n_offers), currency."""

    sales: Floats
    margin: Floats
    discount: Floats
    lift: Floats
    carry: Floats


def value_segment(rows: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Estimate and value every offer in every category of one segment.

    Weeks are split into alternating blocks: a selection fold, whose values may choose an offer, and an evaluation fold,
    whose values tell what it is worth. In each fold the effects of every category are fitted, and
    shrunk towards their mean over categories as far as blocks of weeks say that they are noise.

    Args:
        rows: The segment's response.panel with margin_rate, is_margin_assumed and customer_count; and the depth that
            offers come to, in columns named by ``depth_column``, where it is not the one they say.
        trial: Offers and how to estimate.

    Returns:
        One row per category and offer with the columns of response.effects but gbt_lift_rate; none where
        the history is too short for two blocks in each fold.
    """
    ordered = rows.sort_values(["category", "week_start_date"])
    heads = ordered.drop_duplicates("category")
    n_weeks = len(ordered) // len(heads)
    folds = alternating_folds(n_weeks, trial.block_weeks)
    if min(count_blocks(fold, trial.block_weeks) if fold.any() else 0 for fold in folds) < _MIN_BLOCKS:
        return pd.DataFrame()
    panel = _unfold(ordered, heads, n_weeks, trial)
    customers = int(heads["customer_count"].iloc[0])
    contact = np.array([offer.contact_cost_amount * customers + offer.fixed_cost_amount for offer in trial.offers])
    segment_id = int(heads["segment_id"].iloc[0])
    money = [_value_fold(panel, fold, contact, trial, segment_id) for fold in folds]
    return _tell(panel, heads, contact, trial, selection=money[0][0], evaluation=money[1])


def _unfold(ordered: pd.DataFrame, heads: pd.DataFrame, n_weeks: int, trial: Trial) -> _Panel:
    shape = (len(heads), n_weeks)
    sales = ordered["gross_amount"].to_numpy(dtype=np.float64).reshape(shape)
    levers = np.stack([ordered[name].to_numpy(dtype=np.float64).reshape(shape) for name in LEVERS], axis=2)
    return _Panel(
        sales=sales,
        levers=levers,
        traffic=ordered["traffic_index"].to_numpy(dtype=np.float64).reshape(shape)[0],
        base=sales[:, -_RECENT_WEEKS:].mean(axis=1),
        usual_depth=levers[:, -_RECENT_WEEKS:, 0].mean(axis=1),
        margin_rate=heads["margin_rate"].to_numpy(dtype=np.float64),
        added=trial.settings_of(heads),
    )


def _value_fold(
    panel: _Panel, fold: Bools, contact: Floats, trial: Trial, segment_id: int
) -> tuple[_Money, dict[str, Interval], Floats]:
    """Value the offers by the weeks of one fold: point values, their intervals, and the margin's deviation."""
    n_weeks = len(fold)
    trend = np.linspace(-1.0, 1.0, n_weeks)
    controls = np.stack([trend, panel.traffic - 1.0], axis=1)[None]
    seed = trial.seed + 2 * segment_id + int(fold[0])
    counts = block_bootstrap_weights(n_weeks, trial.block_weeks, trial.bootstraps, seed, fold)
    weights = np.concatenate([fold[None].astype(np.float64), counts])
    fitted = fit_effects(panel.sales, panel.levers, controls, weights)
    estimates, draws = fitted[0], fitted[1:]
    variances = bootstrap_variances(draws)
    shrunk = shrink_effects(estimates, variances)
    spread = shrink_draws(draws, estimates, variances, shrunk, seed)
    point, drawn = (_value(panel, effects, contact, trial) for effects in (shrunk.effects, spread))
    blocks = count_blocks(fold, trial.block_weeks)
    intervals = {
        name: interval(getattr(drawn, name), getattr(point, name), trial.level, blocks)
        for name in ("sales", "margin", "lift")
    }
    return point, intervals, drawn.margin.std(axis=0)


def _value(panel: _Panel, effects: Floats, contact: Floats, trial: Trial) -> _Money:
    """Value offers that come on top of the usual promotions.

    The extra sales get the usual discount too, so that it is part of the discount that the offer costs.
    """
    added = panel.added
    n_levers = added.shape[-1]
    values = offer_values(
        effects=effects,
        offers=added,
        base=panel.base,
        margin_rate=panel.margin_rate,
        contact_cost=np.broadcast_to(contact, (len(panel.base), len(contact))),
        fixed_cost=np.zeros(len(contact)),
        weeks=trial.weeks,
        own_share=trial.own_share,
    )
    usual = panel.usual_depth[:, None] * (values.incremental_sales + values.discount_cost)
    return _Money(
        sales=values.incremental_sales - usual,
        margin=values.incremental_margin - usual,
        discount=values.discount_cost + usual,
        lift=lifts(effects[..., :n_levers], added),
        carry=lifts(effects[..., n_levers:], added),
    )


def _evidence(levers: Floats, added: Floats) -> NDArray[np.int64]:
    """Weeks in which every lever that an offer moves stood above its lowest by at least half as much."""
    above = levers - levers.min(axis=1, keepdims=True)
    wanted = added[:, None]
    enough = (above[:, :, None, :] >= wanted / 2.0 - 1e-12) | (wanted == 0)
    weeks: NDArray[np.int64] = enough.all(axis=3).sum(axis=1)
    return weeks


def _tell(
    panel: _Panel,
    heads: pd.DataFrame,
    contact: Floats,
    trial: Trial,
    *,
    selection: _Money,
    evaluation: tuple[_Money, dict[str, Interval], Floats],
) -> pd.DataFrame:
    """Lay values out as rows, categories in order and offers within them."""
    point, intervals, deviation = evaluation
    n_cells, n_offers = point.margin.shape
    base_sales = panel.base * trial.weeks * (1.0 - panel.usual_depth)
    is_like_discount = np.array([offer.is_like_discount for offer in trial.offers])
    evidence = np.where(is_like_discount, _evidence(panel.levers, panel.added), 0)
    per_cell = {name: heads[name].to_numpy() for name in _CELL_COLUMNS} | {
        "base_gross_amount": panel.base,
        "base_sales_amount": base_sales,
    }
    per_pair: dict[str, Floats | NDArray[np.int64]] = {
        "lift_rate": point.lift,
        "lift_low_rate": intervals["lift"].lower,
        "lift_high_rate": intervals["lift"].upper,
        "carry_rate": point.carry,
        "selection_margin_amount": selection.margin,
        "margin_amount": point.margin,
        "margin_low_amount": intervals["margin"].lower,
        "margin_high_amount": intervals["margin"].upper,
        "margin_p_value": intervals["margin"].p_value,
        "selection_sales_amount": selection.sales,
        "incremental_sales_amount": point.sales,
        "sales_low_amount": intervals["sales"].lower,
        "sales_high_amount": intervals["sales"].upper,
        "sales_p_value": intervals["sales"].p_value,
        "sales_amount": base_sales[:, None] + point.sales,
        "discount_cost_amount": point.discount,
        "margin_sd_amount": deviation,
        "evidence_week_count": evidence,
    }
    columns: dict[str, Sequence[object] | NDArray[np.generic]] = {
        **{name: np.repeat(values, n_offers) for name, values in per_cell.items()},
        "offer_id": [offer.offer_id for offer in trial.offers] * n_cells,
        **{name: values.ravel() for name, values in per_pair.items()},
        "contact_cost_amount": np.tile(contact, n_cells),
        "learnt_from": np.where(evidence.ravel() > 0, "observational", "assumed"),
    }
    return pd.DataFrame(columns)


_CELL_COLUMNS = ("segment_id", "category", "as_of_date", "margin_rate", "is_margin_assumed", "customer_count")
