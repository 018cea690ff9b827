"""How many customers a test needs, and what it can find with those there are."""

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


def minimum_detectable_effect(
    variances: tuple[float, float],
    sizes: tuple[float, float],
    alpha: float = 0.05,
    power: float = 0.8,
    freedom: float = math.inf,
) -> float:
    """Smallest difference in means that is found with the wanted power, two-sided.

    (t_(1 - alpha/2) + t_power) sqrt(v_0 / n_0 + v_1 / n_1), with quantiles of Student's distribution where the freedom
    is finite: few clusters need larger effects.

    Args:
        variances: Of a unit, in control and arm; after adjustment where the analysis adjusts.
        sizes: Units in control and arm, positive.
        alpha: Chance of finding a difference where there is none.
        power: Chance of finding this one where it is there.
        freedom: Degrees of freedom, infinite for many customers.

    Returns:
        The effect, in the unit of the outcome; 0 where nothing varies.

    Source: Bloom 1995.

    >>> round(minimum_detectable_effect((1.0, 1.0), (63.0, 63.0)), 3)
    0.499
    """
    if min(sizes) <= 0 or min(variances) < 0:
        raise ValueError(f"sizes must be positive and variances not negative, got {sizes} and {variances}")
    reach = float(stats.t.isf(alpha / 2.0, freedom) + stats.t.ppf(power, freedom))
    return reach * math.sqrt(variances[0] / sizes[0] + variances[1] / sizes[1])


def required_size(
    effect: float,
    variances: tuple[float, float],
    shares: tuple[float, float] = (0.5, 0.5),
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Units in the whole experiment to find a difference in means, two-sided, with arms of any shares.

    n = (z_(1 - alpha/2) + z_power)^2 (v_0 / s_0 + v_1 / s_1) / effect^2, rounded up.

    Args:
        effect: Worth finding, not 0.
        variances: Of a unit, in control and arm.
        shares: Of all units in control and arm; other arms have the rest.
        alpha: Chance of finding a difference where there is none.
        power: Chance of finding `effect` where it is there.

    >>> required_size(0.5, (1.0, 1.0))  # twice 62.8
    126
    """
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"effect must be finite and not 0, got {effect}")
    quantiles = float(stats.norm.isf(alpha / 2.0) + stats.norm.ppf(power))
    spread = variances[0] / shares[0] + variances[1] / shares[1]
    return max(4, math.ceil(quantiles**2 * spread / effect**2))


def proportion_variances(rate: float, effect: float) -> tuple[float, float]:
    """Variances of a yes or no in control and arm: r (1 - r) at the rate and at the rate plus the effect.

    Args:
        rate: In the control, between 0 and 1.
        effect: Difference of the rates; what passes 0 or 1 is cut off.

    >>> proportion_variances(0.5, 0.25)
    (0.25, 0.1875)
    """
    lifted = min(max(rate + effect, 0.0), 1.0)
    return rate * (1.0 - rate), lifted * (1.0 - lifted)
