"""How many customers a test of an unproven offer needs."""

import math

from scipy import stats


def two_arm_sample_size(effect: float, standard_deviation: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Customers per arm to detect a difference in means between two arms of equal size, two-sided.

    n = ceil(2 (z_(1 - alpha/2) + z_power)^2 (standard_deviation / effect)^2): the normal approximation, with
    the same standard deviation in both arms.

    Args:
        effect: Smallest difference in means worth finding, not 0, currency per customer (or any unit).
        standard_deviation: Between customers, positive, same unit.
        alpha: Chance of finding a difference where there is none.
        power: Chance of finding `effect` where it is there.

    Returns:
        Customers in each arm, at least 2.

    Source: Cohen 1988, ch. 2.

    >>> two_arm_sample_size(0.5, 1.0)  # 2 * (1.960 + 0.842)^2 / 0.25 = 62.8
    63
    """
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"effect must be finite and not 0, got {effect}")
    if not (standard_deviation > 0 and math.isfinite(standard_deviation)):
        raise ValueError(f"standard_deviation must be positive and finite, got {standard_deviation}")
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"alpha and power must be between 0 and 1, got {alpha} and {power}")
    quantiles = float(stats.norm.isf(alpha / 2.0) + stats.norm.ppf(power))
    return max(2, math.ceil(2.0 * (quantiles * standard_deviation / effect) ** 2))
