"""Which of Spark's datetime patterns settings may use: Spark refuses the others only once a record is read."""

from __future__ import annotations

import re

EPOCHS = {"epoch_seconds": 1, "epoch_milliseconds": 1000}
# How often each letter may stand in a row, as Spark's formatter has it.
_MOST = {
    **dict.fromkeys("ahHkKmsd", 2),
    **dict.fromkeys("MLE", 4),
    **dict.fromkeys("GQq", 4),
    **dict.fromkeys("XxZ", 5),
    "y": 6,
    "S": 9,
    "D": 3,
    "V": 2,
    "z": 4,
    "O": 4,
    "F": 1,
}
_ONLY = {"a": (1,), "V": (2,), "O": (1, 4), "F": (1,)}


def pattern_fault(pattern: str) -> str | None:
    """Say what is wrong with a pattern; None where Spark takes it."""
    if pattern in EPOCHS:
        return None
    if pattern.count("'") % 2:
        return "a quote is left open"
    plain = re.sub(r"'[^']*'", "", pattern)
    letters = set(re.findall("[a-zA-Z]", plain))
    unknown = sorted(letters - set(_MOST))
    if unknown or not letters:
        return ", ".join(unknown) or "no letters"
    signs = sorted(set("{}#") & set(plain))
    if signs or plain.count("[") != plain.count("]"):
        return " ".join(signs) or "a bracket is left open"
    for run in re.finditer(r"([a-zA-Z])\1*", plain):
        length, letter = len(run[0]), run[1]
        if length not in _ONLY.get(letter, range(1, _MOST[letter] + 1)):
            return f"{run[0]} is too long"
    return None
