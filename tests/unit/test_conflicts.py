"""How often a write is tried again, when it is not, and what is said then."""

from __future__ import annotations

import pytest
from delta import exceptions

from promo_spark.errors import ConflictError, ContractError
from promo_spark.runtime.conflicts import CONFLICTS, TRIES, Overtaken, recomputed


class Attempts:
    """Fails so many times, then returns the number of the attempt."""

    def __init__(self, failures: int, fault: type[Exception]) -> None:
        self.made = 0
        self.pauses: list[float] = []
        self._failures, self._fault = failures, fault

    def __call__(self) -> int:
        self.made += 1
        if self.made <= self._failures:
            raise self._fault("another commit")
        return self.made

    def run(self) -> int:
        return recomputed(self, table="silver.products", path="/w/silver/products", pause=self.pauses.append)


@pytest.mark.parametrize("fault", CONFLICTS)
def test_a_conflict_is_answered_by_doing_it_all_again(fault: type[Exception]) -> None:
    attempts = Attempts(TRIES - 1, fault)
    assert attempts.run() == TRIES == 5
    assert len(attempts.pauses) == TRIES - 1


def test_after_the_last_try_the_fault_says_what_where_and_how_often() -> None:
    attempts = Attempts(TRIES, exceptions.ConcurrentAppendException)
    with pytest.raises(ConflictError) as told:
        attempts.run()
    for part in ("silver.products at /w/silver/products", "each of 5 tries", "ConcurrentAppendException", "again"):
        assert part in str(told.value)
    assert attempts.made == TRIES
    assert told.value.exit_code == 13


def test_pauses_grow_and_two_writers_do_not_keep_step() -> None:
    drawn = []
    for _ in range(20):
        attempts = Attempts(TRIES - 1, exceptions.ConcurrentWriteException)
        attempts.run()
        drawn.append(tuple(attempts.pauses))
    assert len(set(drawn)) == len(drawn)
    for pauses in drawn:
        for number, pause in enumerate(pauses):
            assert 0.125 * 2**number <= pause <= 0.375 * 2**number


def test_the_same_transaction_is_never_tried_again() -> None:
    attempts = Attempts(1, exceptions.ConcurrentTransactionException)
    with pytest.raises(ConflictError, match="the very same rows"):
        attempts.run()
    assert attempts.made == 1


@pytest.mark.parametrize("fault", [ContractError, ValueError, KeyboardInterrupt])
def test_other_faults_pass(fault: type[Exception]) -> None:
    attempts = Attempts(1, fault)
    with pytest.raises(fault):
        attempts.run()
    assert attempts.made == 1


def test_every_conflict_that_delta_names_is_answered() -> None:
    named = {getattr(exceptions, name) for name in exceptions.__all__}
    assert named == {*CONFLICTS, exceptions.ConcurrentTransactionException} - {Overtaken}
