"""What a policy is worth, in plain words."""

from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.off_policy import PolicyEstimate


def tell_policy(
    one: PolicyEstimate, *, currency: str, level: float, min_support: float, min_effective: float, against: str
) -> tuple[bool, str]:
    """Whether anything can be concluded, and what.

    Args:
        one: A policy by one estimator.
        currency: Of values.
        level: Of the interval of the gain.
        min_support: Least share of what the policy does that the log could have done.
        min_effective: Least number of decisions of equal weight.
        against: The policy that the gain is over.

    >>> one = PolicyEstimate("constant:mailer", "ips", 0.0, 3.0, 1.0, (1.0, 5.0), (1.0, 5.0), 400.0, 0.5, 1.0, 0.2)
    >>> tell_policy(one, currency="USD", level=0.95, min_support=0.95, min_effective=100, against="none")
    (False, 'no conclusion: the log could have done 50 % of what it does, and 95 % is needed')
    >>> tell_policy(one, currency="USD", level=0.95, min_support=0.5, min_effective=100, against="none")[1]
    'worth +1 ± 0.2 USD per decision beside none: better'
    """
    if one.support < min_support:
        share = f"{one.support:.3g}" if one.support < 0.01 else f"{100 * one.support:.0f} %"  # noqa: PLR2004  (a percent)
        return (
            False,
            f"no conclusion: the log could have done {share} of what it does, and {100 * min_support:.0f} % is needed",
        )
    if one.effective_size < min_effective:
        return False, (
            f"no conclusion: what is known of it is that of {one.effective_size:.0f} decisions, "
            f"and {min_effective:.0f} are needed"
        )
    if one.policy == against:
        return True, f"earns {one.value:.3g} ± {one.standard_error:.2g} {currency} per decision"
    half = normal_quantile(level) * one.gain_error
    shown = "better" if one.gain > half else "worse" if one.gain < -half else "no difference is shown"
    return True, f"worth {one.gain:+.3g} ± {one.gain_error:.2g} {currency} per decision beside {against}: {shown}"
