"""Is the safe policy safe, and worth it? Worlds with known truth.

    make bench-policy
    make bench-policy ARGS="--replications 40"

Runs the kernels of the response stage on simulated experiments. Where all customers respond alike, how often does the
comparison fall back to a constant arm or to none? Where the learnt policies' true gain over the best constant arm is at
least four standard errors, how often does it personalise? What share of the oracle's gain over the best constant arm
does the policy reach, on customers whom nothing has seen? How often do intervals hold the true uplift? In the worlds
named carry-over, what a promotion sells in its own week is partly missing in the following ones; beside the policy
learnt from the whole window stands the one learnt from the promotion's own week. Prints tables, and as its last line
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.processes import machine
from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.effect_models import LinearUplift, group_arms
from promo_spark.kernels.gram_regression import Grams, Standardiser, fit_standardiser, gather_grams
from promo_spark.kernels.linear_learners import (
    Evidence,
    arm_weights,
    fit_linear,
    gather_evidence,
    prepare_nuisances,
)
from promo_spark.kernels.policy_rules import PolicyRule, judge_rules, make_rules
from promo_spark.kernels.policy_value import budget_price, choose_arms
from promo_spark.kernels.safe_policy import PolicyComparison, compare_values
from promo_spark.kernels.uplift_folds import Block

FOLDS, RIDGE, LEVEL, ALPHA, COVARIATES = 3, 1.0, 0.9, 0.025, 8
Truth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class World:
    """A market with known truth.

    Attributes:
        window: From covariates to the true uplift in the objective over the whole window, shape (n, n_treated).
        own_week: The same in the promotion's own week, where it differs.
        costs: Contact cost of each arm.
        noise: Standard deviation of the objective within customers.
        decisions: Of each customer.
        budget: Cost per decision.
        depths: Of the arms, where they share strength.
    """

    name: str
    window: Truth
    costs: tuple[float, ...]
    own_week: Truth | None = None
    noise: float = 4.0
    decisions: int = 1
    budget: float | None = None
    depths: tuple[float, ...] = ()

    @property
    def arms(self) -> list[str]:
        return [f"arm{place}" for place in range(len(self.costs))]

    def net(self, covariates: np.ndarray) -> np.ndarray:
        return self.window(covariates) - np.array(self.costs)


@dataclass(frozen=True)
class Learnt:
    full: LinearUplift
    rule: PolicyRule
    rules: tuple[PolicyRule, ...]
    standardiser: Standardiser
    comparison: PolicyComparison


def constant(*levels: float) -> Truth:
    return lambda x: np.tile(levels, (len(x), 1))


def sensitive(x: np.ndarray) -> np.ndarray:
    """Customers' sensitivity to depth: between 0 and 3, curved in two covariates."""
    return 3 / (1 + np.exp(-(0.4 + 1.2 * x[:, 0] - 0.8 * x[:, 1])))


ALIKE = (
    World("no effect", constant(0.0, 0.0), (0.0, 0.0)),
    World("one effect", constant(1.0), (0.3,)),
    World("equal arms", constant(1.0, 1.0, 1.0), (0.3, 0.3, 0.3)),
    World("effect is its cost", constant(0.5, 0.5), (0.5, 0.5), decisions=2),
    World("scarce budget", constant(1.0, 1.5), (0.5, 0.8), budget=0.3),
)
DIFFERENT = (
    World("straight", lambda x: np.stack([0.8 + x[:, 0], 0.8 - 0.8 * x[:, 1]], axis=1), (0.3, 0.3)),
    World(
        "depths",
        lambda x: sensitive(x)[:, None] * np.array([0.5, 1.0, 1.4]) - np.array([0.5, 1.2, 2.1]),
        (0.1, 0.1, 0.1),
        noise=2.0,
        depths=(0.1, 0.2, 0.3),
    ),
    World(
        "several decisions",
        lambda x: np.stack([0.5 + x[:, 0] + 0.5 * x[:, 2], 0.3 + 0.8 * x[:, 1]], axis=1),
        (0.2, 0.2),
        decisions=3,
    ),
    World("budget", lambda x: np.stack([1 + x[:, 0], 1.6 + 1.2 * x[:, 1]], axis=1), (0.5, 0.9), budget=0.3),
    World(
        "carry-over: hoarders",
        lambda x: np.stack([0.6 + 0.8 * x[:, 0] - np.maximum(x[:, 1] + 0.5, 0) * 1.2, 0.2 + 0.5 * x[:, 2]], axis=1),
        (0.1, 0.1),
        own_week=lambda x: np.stack(
            [0.6 + 0.8 * x[:, 0] + np.maximum(x[:, 1] + 0.5, 0) * 1.2, 0.2 + 0.5 * x[:, 2]], axis=1
        ),
    ),
    World(
        "carry-over: habits",
        lambda x: np.stack([0.5 - 0.7 * x[:, 0], 0.5 + x[:, 0] - 0.3 * x[:, 1]], axis=1),
        (0.2, 0.2),
        own_week=lambda x: np.stack([1.0 + 0.7 * x[:, 0], 0.5 + 0.2 * x[:, 0]], axis=1),
    ),
)


def draw_covariates(rng: np.random.Generator, customers: int) -> np.ndarray:
    """Some bell-shaped, some skewed, some yes or no; the first four matter."""
    x = rng.normal(size=(customers, COVARIATES))
    x[:, 4] = rng.lognormal(size=customers)
    x[:, 5:7] = rng.random((customers, 2)) < np.array([0.3, 0.02])
    return x


def learn(world: World, rng: np.random.Generator, customers: int, *, own_week: bool = False) -> Learnt:
    """Draw an experiment, learn from it and compare the policies: what the Spark path does, in one block."""
    x = np.repeat(draw_covariates(rng, customers), world.decisions, axis=0)
    n_rows, n_arms = len(x), len(world.costs) + 1
    arms = rng.integers(0, n_arms, n_rows)
    habit = np.repeat(rng.normal(size=customers), world.decisions)
    truth = world.own_week if own_week and world.own_week else world.window
    effects = np.concatenate([np.zeros((n_rows, 1)), truth(x)], axis=1)[np.arange(n_rows), arms]
    noise = world.noise * (0.5 + np.abs(x[:, 3])) * rng.normal(size=n_rows)
    outcomes = (5 + 2 * x[:, 0] + x[:, 3] ** 2 + 2 * habit + noise + effects)[:, None]
    folds = np.repeat(rng.integers(0, FOLDS, customers), world.decisions)
    clusters = np.repeat(np.arange(customers), world.decisions)
    standardiser = fit_standardiser(x[:20_000])
    block = Block(standardiser.design(x), outcomes, arms, folds, np.full(n_rows, 1 / n_arms), clusters)
    flat = gather_grams(block.design, outcomes, folds * n_arms + arms, FOLDS * n_arms)
    grams = Grams(*(part.reshape(FOLDS, n_arms, *part.shape[1:]) for part in flat))
    nuisances = prepare_nuisances(grams, RIDGE)
    groups = group_arms(world.arms, dict(zip(world.arms, world.depths, strict=bool(world.depths))))
    evidence = Evidence(grams, *gather_evidence(block, nuisances, groups, arm_weights(grams), "dr"))
    fits = fit_linear("dr", evidence, groups, RIDGE)
    costs, levels = np.array(world.costs), np.stack([nuisances.levels[fold, fold] for fold in range(FOLDS)])
    seen = slice(0, 20_000)
    rules = make_rules(fits.by_fold, costs, block.design[seen], folds[seen], budget=world.budget)
    values = judge_rules(block, levels, rules)
    rule = rules[0]._replace(model=fits.full)
    gains, expected = rule.net(block.design[seen])
    rule = rule._replace(price=budget_price(gains, expected, world.budget))
    return Learnt(fits.full, rule, rules, standardiser, compare_values(values, world.arms, world.budget, ALPHA))


def true_values(world: World, x: np.ndarray, learnt: Learnt) -> tuple[float, float, float, float]:
    """True values per customer: the policy, the mean of the folds' policies, the best simple policy, the oracle."""
    net, costs = world.net(x), np.tile(world.costs, (len(x), 1))

    def worth(chosen: np.ndarray) -> float:
        return float(np.where(chosen > 0, net[np.arange(len(x)), chosen - 1], 0.0).mean())

    design = learnt.standardiser.design(x)
    shares = [1.0 if world.budget is None else min(1.0, world.budget / cost) for cost in world.costs]
    simple = max(0.0, *(net.mean(axis=0) * np.array(shares)))
    oracle = worth(choose_arms(net, costs, budget_price(net, costs, world.budget)))
    judged = float(np.mean([worth(rule.choose(design)) for rule in learnt.rules]))
    return worth(learnt.rule.choose(design)), judged, simple, oracle


def run_alike(replications: int, customers: int) -> dict[str, object]:
    rates = {}
    print(f"\nfall back where all respond alike, {replications} replications of {customers} customers\n")
    for number, world in enumerate(ALIKE):
        verdicts = [
            learn(world, np.random.default_rng([number, draw]), customers).comparison.verdict
            for draw in range(replications)
        ]
        told = {name: verdicts.count(name) / replications for name in ("none", "constant", "personalised")}
        rates[world.name] = 1 - told["personalised"]
        print(f"{world.name:<24}" + "".join(f"{name:>14} {rate:6.3f}" for name, rate in told.items()))
    return {"fall_back_rate": min(rates.values()), "fall_back_rates": rates}


def run_different(replications: int, sizes: tuple[int, ...]) -> dict[str, object]:
    """Personalisation where the true gain of the judged policies is at least four standard errors."""
    print(f"\npersonalise where they differ, {replications} replications each; gain in standard errors\n")
    found: dict[str, list[bool]] = {}
    for number, world in enumerate(DIFFERENT):
        fresh = draw_covariates(np.random.default_rng(99), 50_000)
        for customers in sizes:
            leads = []
            for draw in range(replications):
                learnt = learn(world, np.random.default_rng([number, customers, draw]), customers)
                _, judged, simple, _ = true_values(world, fresh, learnt)
                leads.append((judged - simple) / learnt.comparison.gain_se)
                if leads[-1] >= 4:
                    found.setdefault(world.name, []).append(learnt.comparison.verdict == "personalised")
            own = found.get(world.name, [])
            print(f"{world.name:<24}{customers:>8}{np.mean(leads):>8.1f}  personalised so far {sum(own)} of {len(own)}")
    rates = {name: float(np.mean(told)) for name, told in found.items()}
    return {
        "personalise_rate": float(np.mean([one for told in found.values() for one in told])),
        "personalise_rates": rates,
    }


def run_oracle(replications: int, customers: int) -> dict[str, object]:
    print(f"\nshare of the oracle's gain over the best constant arm, {customers} customers; coverage at {LEVEL}\n")
    shares: dict[str, float] = {}
    misled: dict[str, float] = {}
    coverage: dict[str, float] = {}
    reach = normal_quantile(LEVEL)
    for number, world in enumerate(DIFFERENT):
        told, blind, inside = [], [], []
        for draw in range(replications):
            rng = np.random.default_rng([7, number, draw])
            learnt = learn(world, rng, customers)
            fresh = draw_covariates(np.random.default_rng([8, draw]), 50_000)
            own, _, simple, oracle = true_values(world, fresh, learnt)
            told.append((own - simple) / (oracle - simple))
            design = learnt.standardiser.design(fresh[:5000])
            gap = np.abs(learnt.full.uplift(design)[..., 0] - world.window(fresh[:5000]))
            inside.append(float((gap <= reach * learnt.full.errors(design)[..., 0]).mean()))
            if world.own_week is not None:
                same_week = learn(world, np.random.default_rng([7, number, draw]), customers, own_week=True)
                own, _, simple, oracle = true_values(world, fresh, same_week)
                blind.append((own - simple) / (oracle - simple))
        shares[world.name], coverage[world.name] = float(np.mean(told)), float(np.mean(inside))
        words = f"{world.name:<24}{shares[world.name]:>8.3f}  coverage {coverage[world.name]:.3f}"
        if blind:
            misled[world.name] = float(np.mean(blind))
            words += f"   learnt from the own week alone {misled[world.name]:.3f}"
        print(words)
    return {
        "oracle_share": min(shares.values()),
        "oracle_shares": shares,
        "own_week_shares": misled,
        "coverage": coverage,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=400, help="experiments per world that are alike")
    options = parser.parse_args()
    started = time.monotonic()
    few = max(2, options.replications // 20)
    result = {
        "benchmark": "policy",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"numpy": version("numpy")},
        "replications": options.replications,
        **run_alike(options.replications, 4000),
        **run_different(2 * few, (4000, 8000, 16_000)),
        **run_oracle(few // 2 or 1, 50_000),
    }
    print(json.dumps({**result, "wall_s": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
