"""Told probabilities of redemption against who redeemed."""

from datetime import date

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.silver import REDEMPTIONS
from promo_spark.measurement.redemptions import backtest_redemptions
from tests.conftest import MakeRows

DAY = date(2017, 6, 5)


def test_those_on_the_list_are_judged_by_what_they_redeemed_in_time(make_rows: MakeRows) -> None:
    draws = np.random.default_rng(5)
    told = np.round(draws.uniform(0.05, 0.6, 400), 3)
    used = draws.uniform(size=400) < told
    listed = {"promotion_id": "p", "as_of_date": DAY, "is_listed": True}
    scores = [
        {**listed, "customer_id": f"c{number:03d}", "redemption_prob": float(probability)}
        for number, probability in enumerate(told)
    ]
    unlisted = {**scores[0], "customer_id": "x", "is_listed": False, "redemption_prob": 0.99}
    redeemed = [
        {"promotion_id": "p", "customer_id": f"c{n:03d}", "coupon_id": coupon, "redeemed_date": date(2017, 6, 20)}
        for n in np.flatnonzero(used)
        for coupon in ("one", "two")
    ]
    late = {**redeemed[0], "customer_id": f"c{np.flatnonzero(~used)[0]:03d}", "redeemed_date": date(2017, 7, 3)}
    early = {**late, "redeemed_date": date(2017, 6, 4)}
    settings = BacktestSettings(bootstraps=60)
    found = backtest_redemptions(
        scores=make_rows(SCORES, [*scores, unlisted]),
        redemptions=make_rows(REDEMPTIONS, [*redeemed, late, early]),
        as_of_date=DAY,
        settings=settings,
        seed=1,
    )
    rows = {row["metric"]: row for row in found.collect()}
    assert rows["auc"]["value"] == pytest.approx(roc_auc_score(used, told), abs=1e-8)
    assert rows["auc"]["observation_count"] == 400
    assert rows["real_rate"]["value"] == pytest.approx(used.mean(), abs=1e-8)
    # Told as drawn: the means differ by less than four errors, whose own size is that of a share.
    error = rows["real_rate"]["standard_error"]
    assert error == pytest.approx((used.mean() * (1 - used.mean()) / 400) ** 0.5, rel=0.4)
    assert abs(rows["told_rate"]["value"] - rows["real_rate"]["value"]) < 4 * error
    assert (rows["auc"]["first_date"], rows["auc"]["last_date"]) == (DAY, date(2017, 7, 2))
    nothing = backtest_redemptions(
        scores=make_rows(SCORES, scores),
        redemptions=make_rows(REDEMPTIONS, [early]),
        as_of_date=DAY,
        settings=settings,
        seed=1,
    )
    assert nothing.isEmpty()
