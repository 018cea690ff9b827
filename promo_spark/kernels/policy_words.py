"""What a policy is worth, in plain words."""

from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.off_policy import PolicyEstimate

_PERCENT = 0.01


def refusal(one: PolicyEstimate, *, min_support: float, min_effective: float) -> str | None:
    """Why nothing can be concluded of a policy; None where something can.

    Args:
        one: A policy by one estimator.
        min_support: Least share of what the policy does that the log could have done.
        min_effective: Least number of decisions of equal weight.

    >>> one = PolicyEstimate("constant:mailer", "ips", 0.0, 3.0, 1.0, (1.0, 5.0), (1.0, 5.0), 400.0, 0.5, 1.0, 0.2)
    >>> refusal(one, min_support=0.95, min_effective=100)
    'no conclusion: the log could have done 50 % of what it does, and 95 % is needed'
    >>> refusal(one, min_support=0.5, min_effective=100)
    """
    if one.support < min_support:
        share = f"{100 * one.support:.0f} %" if one.support >= _PERCENT else "next to nothing"
        return (
            f"no conclusion: the log could have done {share} of what it does, and {100 * min_support:.0f} % is needed"
        )
    if one.effective_size < min_effective:
        return (
            f"no conclusion: what is known of it is that of {one.effective_size:.0f} decisions, "
            f"and {min_effective:.0f} are needed"
        )
    return None


def tell_policy(one: PolicyEstimate, *, against: str, is_against_known: bool, currency: str, level: float) -> str:
    """What is concluded of a policy.

    Args:
        one: A policy by one estimator.
        against: The policy that the gain is over.
        is_against_known: Whether anything is concluded of that one.
        currency: Of values.
        level: Of the interval of the gain.

    >>> one = PolicyEstimate("constant:mailer", "ips", 0.0, 3.0, 1.0, (1.0, 5.0), (1.0, 5.0), 400.0, 0.5, 1.0, 0.2)
    >>> tell_policy(one, against="none", is_against_known=True, currency="USD", level=0.95)
    'worth +1 ± 0.2 USD per decision beside none: better'
    >>> tell_policy(one, against="none", is_against_known=False, currency="USD", level=0.95)
    'earns 3 ± 1 USD per decision; what none would have earned is not known'
    """
    earned = f"earns {one.value:.3g} ± {one.standard_error:.2g} {currency} per decision"
    if one.policy == against:
        return earned
    if not is_against_known:
        return f"{earned}; what {against} would have earned is not known"
    half = normal_quantile(level) * one.gain_error
    shown = "better" if one.gain > half else "worse" if one.gain < -half else "no difference is shown"
    return f"worth {one.gain:+.3g} ± {one.gain_error:.2g} {currency} per decision beside {against}: {shown}"
