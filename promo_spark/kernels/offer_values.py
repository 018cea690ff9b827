"""What an offer is worth: the extra sales it brings against the discount it gives to everybody."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class OfferValues(NamedTuple):
    """Expected amounts per cell and offer, currency; each of shape (..., n_cells, n_offers)."""

    incremental_sales: Floats
    incremental_margin: Floats
    discount_cost: Floats


def offer_values(
    *,
    effects: Floats,
    offers: Floats,
    base: Floats,
    margin_rate: Floats,
    contact_cost: Floats,
    fixed_cost: Floats,
    weeks: int,
    depth_lever: int = 0,
    baseline: Floats | None = None,
    own_share: Floats | None = None,
) -> OfferValues:
    """Value offers as lever settings held for some weeks against leaving the levers at the baseline.

    With b the base weekly sales at list price, n weeks, now and lag the effects, x the offer's levers, x0 the
    baseline, d and d0 the discount depth of each:

        incremental gross  = b n (now + lag) . (x - x0)        stock-piling after the offer included
        gross on           = max(0, b n (1 + now . x))         likewise gross off with x0
        discount cost      = f d * gross on - d0 * gross off     f: share that no vendor bears
        incremental sales  = incremental gross - discount cost
        incremental margin = margin rate * incremental gross - discount cost - contact cost - fixed cost

    The discount is paid on all sales while the offer is on, also to customers who would have bought anyway:
    that is why a promotion that sells more can still lose money. Effects of `fit_effects` are shares of mean
    weekly sales, so base is that mean (or one on its scale). Where the weeks behind it had promotions with a
    positive effect, gross on and the discount cost are then somewhat too high: on the safe side.

    Args:
        effects: Now, then lagged, shape (..., n_cells, 2 * n_levers); leading axes such as the bootstrap's
            are kept.
        offers: Lever settings, shape (n_offers, n_levers), 0 to 1; or of each cell, shape (n_cells, n_offers,
            n_levers).
        base: Base weekly sales at list price, shape (n_cells,), currency.
        margin_rate: Margin as a share of list-price sales, shape (n_cells,).
        contact_cost: Cost of reaching the cell's customers, shape (n_cells, n_offers), currency.
        fixed_cost: Cost of the offer in each cell that gets it, shape (n_offers,) or (n_cells, n_offers),
            currency.
        weeks: Weeks the offer is held.
        depth_lever: Which lever is the discount depth.
        baseline: Levers without the offer, shape (n_levers,). Default: all 0.
        own_share: Share of each offer's discount that the retailer bears, shape (n_offers,). Default: all of it.

    Returns:
        Incremental sales after discount, incremental margin, discount cost.

    Complexity: O(effects.size * n_offers).

    >>> cell = dict(base=np.array([100.0]), margin_rate=np.array([0.3]), effects=np.array([[2.0, -0.5]]))
    >>> costs = dict(contact_cost=np.array([[1.0]]), fixed_cost=np.array([2.0]))
    >>> values = offer_values(offers=np.array([[0.1]]), weeks=2, **cell, **costs)
    >>> [amount.round(6).item() for amount in values]  # gross +30, on 240: 30 - 24; 9 - 24 - 1 - 2; 24
    [6.0, -18.0, 24.0]
    """
    n_levers = offers.shape[-1]
    own = np.ones(offers.shape[-2]) if own_share is None else own_share
    start = np.zeros(n_levers) if baseline is None else baseline
    now = effects[..., :n_levers]
    period = (base * weeks)[:, None]
    incremental_gross = period * lifts(now + effects[..., n_levers:], offers - start)
    gross_on = np.maximum(0.0, period * (1.0 + lifts(now, offers)))
    gross_off = np.maximum(0.0, period * (1.0 + now @ start[:, None]))
    discount_cost = own * offers[..., depth_lever] * gross_on - start[depth_lever] * gross_off
    margin = margin_rate[:, None] * incremental_gross - discount_cost - contact_cost - fixed_cost
    return OfferValues(incremental_gross - discount_cost, margin, discount_cost)


def lifts(effects: Floats, offers: Floats) -> Floats:
    """Sum of each lever's effect times its setting: what offers add to a week's sales, as a share.

    Args:
        effects: Shape (..., n_cells, n_levers).
        offers: Shape (n_offers, n_levers), or (n_cells, n_offers, n_levers).

    Returns:
        Shape (..., n_cells, n_offers).

    >>> lifts(np.array([[2.0, 1.0]]), np.array([[[0.1, 0.0], [0.0, 0.5]]])).tolist()
    [[0.2, 0.5]]
    """
    per_cell = np.broadcast_to(offers, (effects.shape[-2], *offers.shape[-2:]))
    summed: Floats = np.einsum("...cl,col->...co", effects, per_cell)
    return summed
