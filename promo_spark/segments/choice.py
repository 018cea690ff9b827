"""Which of the segments tried are used, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promo_spark.segments.trials import Trial

STABLE_ENOUGH = 0.6
_ALONE = "no groups of customers can be told apart"


def choose_trial(trials: Sequence[Trial], smallest_rate: float) -> tuple[Trial, Mapping[tuple[str, int], str]]:
    """Choose the number of clusters of each method, then the method.

    Of one method: the best separated among the stable ones; where none is stable, the most stable. Numbers with a
    cluster below ``smallest_rate`` are set aside first, unless all are. Equals go to fewer clusters. What customers
    do later has no say in the number: more clusters nearly always explain more of it.

    Of several methods: those with large and stable clusters come first. They are compared at one number of
    clusters, the first's, or the nearest that each has. The first listed is used of those that explain as much as any
    of what customers did later, within one standard error of the difference (Breiman et al. 1984): to change every
    segment must be worth it. Where no earlier date is known the best silhouette decides, which leans towards methods
    that make round clusters.

    Args:
        trials: At least one, in the order of the methods.
        smallest_rate: No cluster should hold less.

    Returns:
        The choice, and the reason for or against each method and number of clusters.
    """
    bests: list[Trial] = []
    reasons: dict[tuple[str, int], str] = {}
    for method in dict.fromkeys(trial.method for trial in trials):
        own = [trial for trial in trials if trial.method == method]
        best, told = _choose_count(own, smallest_rate)
        bests.append(best)
        reasons |= {(method, count): why for count, why in told.items()}
    sound = [best for best in bests if _fault(best, smallest_rate) is None]
    sound = sound or [best for best in bests if best.cluster_count > 1] or bests
    matched = [_nearest(trials, best, sound[0].cluster_count, smallest_rate) for best in sound]
    place, why, why_not = _choose_method(matched)
    chosen = sound[place]
    if len(bests) > 1:
        lost = {best.method: why_not for best in sound} | {
            best.method: _fault(best, smallest_rate) or why_not for best in bests if best not in sound
        }
        reasons |= {(best.method, best.cluster_count): lost[best.method] for best in bests}
        reasons[chosen.method, chosen.cluster_count] = why
    return chosen, reasons


def _choose_count(trials: Sequence[Trial], smallest_rate: float) -> tuple[Trial, dict[int, str]]:
    if len(trials) == 1:
        count = trials[0].cluster_count
        return trials[0], {count: _ALONE if count == 1 else "the only number that could be tried"}
    large = [trial for trial in trials if trial.smallest_rate >= smallest_rate] or list(trials)
    stable = [trial for trial in large if (trial.stability or 0.0) >= STABLE_ENOUGH]
    if stable:
        chosen = max(stable, key=lambda trial: (trial.silhouette or 0.0, -trial.cluster_count))
        why = f"best silhouette among those with a stability of at least {STABLE_ENOUGH}"
    else:
        chosen = max(large, key=lambda trial: (trial.stability or 0.0, -trial.cluster_count))
        why = f"most stable; none reaches {STABLE_ENOUGH}"
    otherwise = "lower silhouette" if stable else "less stable"
    against = {
        trial.cluster_count: otherwise if trial in (stable or large) else _fault(trial, smallest_rate) or otherwise
        for trial in trials
    }
    return chosen, {**against, chosen.cluster_count: why}


def _nearest(trials: Sequence[Trial], best: Trial, count: int, smallest_rate: float) -> Trial:
    own = [trial for trial in trials if trial.method == best.method and _fault(trial, smallest_rate) is None]
    return min(own or [best], key=lambda trial: (abs(trial.cluster_count - count), trial.cluster_count))


def _choose_method(matched: Sequence[Trial]) -> tuple[int, str, str]:
    """Place of the method to use, why it is, and why the others are not."""
    later = [trial.later for trial in matched]
    if all(explained is not None for explained in later):
        known = [explained for explained in later if explained is not None]
        leader = max(known, key=lambda explained: explained.rate)
        gains = [leader.gain_over(explained) for explained in known]
        place = next(place for place, (gain, error) in enumerate(gains) if gain <= error)
        return (
            place,
            "no other method explains more of what customers did later, by one standard error",
            "explains less of what customers did later, or no more than a method listed before it",
        )
    silhouettes = [-1.0 if trial.silhouette is None else trial.silhouette for trial in matched]
    place = max(range(len(matched)), key=lambda place: (silhouettes[place], -place))
    return place, "best silhouette of the methods at one number of clusters", "lower silhouette than another method"


def _fault(trial: Trial, smallest_rate: float) -> str | None:
    if trial.cluster_count == 1:
        return _ALONE
    if trial.smallest_rate < smallest_rate:
        return f"its smallest cluster holds {trial.smallest_rate:.1%} of customers"
    if (trial.stability or 0.0) < STABLE_ENOUGH:
        return f"stability {trial.stability or 0.0:.2f} is below {STABLE_ENOUGH}"
    return None
