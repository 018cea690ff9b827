"""Random numbers for a simulated retailer that depend on a seed and on what they are for, and on nothing else.

A draw is a hash of the seed, a purpose and the row's own keys: the same whatever the partitioning, and
for any other column of the same row independent of it.
"""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import functions as F

_BITS = 53


def uniform(seed: int, purpose: str, *keys: Expression) -> Expression:
    """A draw from the uniform distribution on (0, 1), 53 bits of a 64-bit hash."""
    bits = F.shiftrightunsigned(F.xxhash64(F.lit(seed), F.lit(purpose), *keys), 64 - _BITS)
    return (bits.cast("double") + 0.5) / float(1 << _BITS)


def normal(seed: int, purpose: str, *keys: Expression) -> Expression:
    """A draw from the standard normal distribution (Box and Muller, 1958)."""
    radius = F.sqrt(-2.0 * F.log(uniform(seed, f"{purpose}, radius", *keys)))
    return radius * F.cos(2.0 * F.pi() * uniform(seed, f"{purpose}, angle", *keys))


def count_of_mean(mean: Expression, spread: Expression, remainder: Expression) -> Expression:
    """A whole number whose expectation is exactly ``mean``: floor(2 · mean · spread + remainder).

    E[floor(x + u)] = x for uniform u, and E[2 · spread] = 1. Bounded by 2 · mean + 1, so that a row's
    number can be part of a key.

    Args:
        mean: Expectation, not negative.
        spread: Uniform draw on (0, 1), which spreads the number between nil and twice the mean.
        remainder: Another one.
    """
    return F.floor(2.0 * mean * spread + remainder).cast("int")


def skewed_index(draw: Expression, size: Expression) -> Expression:
    """A number from 0 to size - 1, small ones more often: floor(size · u^1.5)."""
    return F.least(F.floor(size * F.pow(draw, 1.5)), size - 1).cast("int")


def skewed_share(index: Expression, size: Expression) -> Expression:
    """The probability of a number under ``skewed_index``: ((i+1)/n)^(2/3) - (i/n)^(2/3)."""
    return F.pow((index + 1) / size, 2.0 / 3.0) - F.pow(index / size, 2.0 / 3.0)
