"""Two runs on one warehouse: the tables are those of one run after the other, or one run says that it gave up."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.errors import ContractError, PromoSparkError
from promo_spark.runtime.commits import commit_rows
from promo_spark.runtime.store import Store
from tests.conftest import MakeRows
from tests.faults.conftest import Shown
from tests.faults.gates import Gate, gated_commits, started

pytestmark = [pytest.mark.promise("two runs at once: a serial result or a named error")]
BRONZE_PRODUCTS = bronze_of(PRODUCTS)
DAY, NEXT_DAY = date(2017, 10, 30), date(2017, 10, 31)
Rows = Counter[tuple[Any, ...]]


@dataclass
class Desk:
    """A warehouse with rows to race over."""

    store: Store
    make_rows: MakeRows
    chance: np.random.Generator

    def customers(self) -> list[str]:
        drawn = self.chance.choice(8, self.chance.integers(1, 5), replace=False)
        return [f"c{number}" for number in sorted(drawn)]


@dataclass
class Write:
    """One way to write: what it does to a table, and what it should do to its rows.

    Attributes:
        run: Does it.
        expect: The rows after it, given those before.
        refusal: The fault that it must end with.
        can_be_held: Its commits pass gates.
    """

    run: Callable[[], object]
    expect: Callable[[Rows], Rows]
    refusal: type[PromoSparkError] | None = None
    can_be_held: bool = True


def dated(desk: Desk, day: date = DAY, *, faulty: bool = False) -> Write:
    recency = int(desk.chance.integers(1, 91))
    good = [
        {"customer_id": c, "category": "milk", "as_of_date": day, "recency_days": recency} for c in desk.customers()
    ]
    bad = [{**row, "category": "bread", "recency_days": 0} for row in good] if faulty else []
    new = [("kept", row["customer_id"], day, recency) for row in good]
    new += [("refused", day) for _ in bad]

    def expect(before: Rows) -> Rows:
        return Counter([row for row in before.elements() if day not in row]) + Counter(new)

    return Write(lambda: desk.store.write(AFFINITY, desk.make_rows(AFFINITY, [*good, *bad]), as_of_date=day), expect)


def merged(desk: Desk, load: int, *, faulty: bool = False) -> Write:
    brand = f"brand {desk.chance.integers(10**6)}"
    rows = [
        {"product_id": c, "brand": brand, "source_file": f"f{load}", "source_ordinal": n, "ingest_sequence": load}
        for n, c in enumerate(desk.customers())
    ]
    bad = [{**rows[0], "product_id": None, "source_ordinal": 90 + load}] if faulty else []

    def expect(before: Rows) -> Rows:
        held = {row[1]: row for row in before if row[0] == "kept"}
        for row in rows:
            was = held.get(str(row["product_id"]))
            if was is None or was[3] <= load:
                held[str(row["product_id"])] = ("kept", row["product_id"], brand, load)
        refused = {row for row in before if row[0] == "refused"} | {("refused", 90 + load) for _ in bad}
        return Counter([*held.values(), *refused])

    return Write(lambda: desk.store.write(PRODUCTS, desk.make_rows(PRODUCTS, [*rows, *bad])), expect)


def _people(desk: Desk) -> list[dict[str, Any]]:
    return [{"raw_customer_id": c, "customer_id": c, "key_version": 1} for c in desk.customers()]


def appended(desk: Desk) -> Write:
    people = _people(desk)
    new = Counter([(row["raw_customer_id"],) for row in people])
    return Write(
        lambda: desk.store.write(IDENTITY_CUSTOMERS, desk.make_rows(IDENTITY_CUSTOMERS, people), expected=len(people)),
        lambda before: before + new,
    )


def appended_missing(desk: Desk) -> Write:
    people = _people(desk)
    return Write(
        lambda: desk.store.append_missing(IDENTITY_CUSTOMERS, desk.make_rows(IDENTITY_CUSTOMERS, people)),
        lambda before: (
            before | Counter([(row["raw_customer_id"],) for row in people if (row["raw_customer_id"],) not in before])
        ),
    )


def refused(desk: Desk) -> Write:
    # Whose rows are taken out again is told by their keys: those of a load are its own.
    people = [{**row, "raw_customer_id": f"{row['raw_customer_id']} refused"} for row in _people(desk)]
    frame = desk.make_rows(IDENTITY_CUSTOMERS, people)
    return Write(
        lambda: desk.store.write(IDENTITY_CUSTOMERS, frame, expected=len(people) + 1),
        lambda before: before,
        ContractError,
    )


def undone(desk: Desk) -> Write:
    """Take back what a run left that died between its commit and the look at it."""
    rows = desk.make_rows(IDENTITY_CUSTOMERS, [{"raw_customer_id": "dead", "customer_id": "x", "key_version": 1}])
    commit_rows(rows, desk.store.path(IDENTITY_CUSTOMERS), expected=2)
    return Write(
        lambda: desk.store.undo_wrong_append(IDENTITY_CUSTOMERS),
        lambda before: Counter([row for row in before.elements() if row != ("dead",)]),
    )


def loaded(desk: Desk) -> Write:
    """Take load 1 in, as a run does that has found bronze empty; another run may do the same."""
    brand = f"brand {desk.chance.integers(10**6)}"
    rows = [
        {"product_id": c, "brand": brand, "source_file": "f", "source_ordinal": n, "ingest_sequence": 1, "faults": []}
        for n, c in enumerate(desk.customers())
    ]
    frame = desk.make_rows(BRONZE_PRODUCTS, [{**row, "source_file_hash": "h"} for row in rows])
    is_held = F.col("ingest_sequence") >= 1

    def expect(before: Rows) -> Rows:
        return Counter([("taken in twice",)]) if before else Counter([(row["product_id"], brand) for row in rows])

    return Write(lambda: desk.store.write(BRONZE_PRODUCTS, frame, expected=len(rows), unless=is_held), expect)


def upkeep(desk: Desk, table: TableContract, kind: str) -> Write:
    def run() -> object:
        stored = DeltaTable.forPath(desk.make_rows(table, []).sparkSession, desk.store.path(table))
        return stored.optimize().executeCompaction() if kind == "optimize" else stored.vacuum(168.0)

    return Write(run, lambda before: before, can_be_held=False)


Pair = tuple[TableContract, Callable[[Desk], Write] | None, Callable[[Desk], Write], Callable[[Desk], Write]]
_OPTIMIZE, _VACUUM = partial(upkeep, kind="optimize"), partial(upkeep, kind="vacuum")
PAIRS: dict[str, Pair] = {
    "same date": (AFFINITY, dated, dated, dated),
    "first rows of a date": (AFFINITY, None, dated, dated),
    "two dates": (AFFINITY, dated, dated, partial(dated, day=NEXT_DAY)),
    "same date, with refusals": (AFFINITY, dated, partial(dated, faulty=True), partial(dated, faulty=True)),
    "date and compaction": (AFFINITY, dated, dated, partial(_OPTIMIZE, table=AFFINITY)),
    "merges": (PRODUCTS, partial(merged, load=1), partial(merged, load=2), partial(merged, load=3)),
    "first loads": (PRODUCTS, None, partial(merged, load=1), partial(merged, load=2)),
    "merges, with refusals": (
        *(PRODUCTS, partial(merged, load=1)),
        *(partial(merged, load=2, faulty=True), partial(merged, load=3, faulty=True)),
    ),
    "merge and compaction": (
        PRODUCTS,
        partial(merged, load=1),
        partial(merged, load=2),
        partial(_OPTIMIZE, table=PRODUCTS),
    ),
    "merge and vacuum": (PRODUCTS, partial(merged, load=1), partial(merged, load=2), partial(_VACUUM, table=PRODUCTS)),
    "appends": (IDENTITY_CUSTOMERS, None, appended, appended),
    "appends of what is missing": (IDENTITY_CUSTOMERS, appended_missing, appended_missing, appended_missing),
    "append, and of what is missing": (IDENTITY_CUSTOMERS, appended, appended_missing, appended),
    "append and a refused one": (IDENTITY_CUSTOMERS, appended, refused, appended),
    "missing ones and an undone append": (IDENTITY_CUSTOMERS, appended, appended_missing, undone),
    "undone twice": (IDENTITY_CUSTOMERS, appended, undone, undone),
    "one load twice": (BRONZE_PRODUCTS, None, loaded, loaded),
    "append and compaction": (IDENTITY_CUSTOMERS, appended, appended, partial(_OPTIMIZE, table=IDENTITY_CUSTOMERS)),
}
FAST = ("same date", "first loads", "appends of what is missing", "append and a refused one", "one load twice")


def rows_of(store: Store, table: TableContract) -> Rows:
    if table == IDENTITY_CUSTOMERS:
        return Counter([(row.raw_customer_id,) for row in store.read(table).collect()])
    if table == BRONZE_PRODUCTS:
        return Counter([(row.product_id, row.brand) for row in store.read(table).collect()])
    refusals = store.read(rejected_of(table)).collect()
    if table == AFFINITY:
        kept = [("kept", r.customer_id, r.as_of_date, r.recency_days) for r in store.read(table).collect()]
        return Counter([*kept, *(("refused", r.as_of_date) for r in refusals)])
    kept = [("kept", r.product_id, r.brand, r.ingest_sequence) for r in store.read(table).collect()]
    return Counter([*kept, *(("refused", r.source_ordinal) for r in refusals)])


def race(desk: Desk, pair: Pair, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hold the first of two writes somewhere, run the second, let both end; the order that the result is of."""
    table, before, *makers = pair
    if before is not None:
        before(desk).run()
    if desk.chance.random() < 0.5:
        makers.reverse()
    first, second = sorted((make(desk) for make in makers), key=lambda write: not write.can_be_held)
    start = rows_of(desk.store, table)
    (folder / "gate").mkdir(parents=True)
    gate = Gate(folder / "gate", is_within=desk.chance.random() < 0.7)
    with gated_commits(monkeypatch) as gates:
        thread, ended = started(first.run, gates, gate)
        is_held = gate.until_arrived()
        other, other_ended = started(second.run, gates, None)
        other.join(15)
        gate.open()
        thread.join(90)
        other.join(90)
    assert not thread.is_alive()
    assert not other.is_alive()
    kept = [write for write, end in ((first, ended[0]), (second, other_ended[0])) if _is_kept(write, end)]
    orders = {"first, second": kept, "second, first": kept[::-1]}
    found = rows_of(desk.store, table)
    told = {name: _after(start, writes) for name, writes in orders.items()}
    assert found in told.values(), f"{dict(found)} is neither of {told}; ended {ended}, {other_ended}, held {is_held}"
    return "held" if is_held else "passed"


def _is_kept(write: Write, end: object) -> bool:
    """Whether a write took place; where it did not, the fault has a name."""
    if isinstance(end, Exception):
        assert isinstance(end, PromoSparkError), repr(end)
    if write.refusal is not None:
        assert isinstance(end, write.refusal), repr(end)
    return not isinstance(end, Exception)


def _after(rows: Rows, writes: list[Write]) -> Rows:
    for write in writes:
        rows = write.expect(rows)
    return rows


@pytest.fixture
def make_desk(spark: SparkSession, make_rows: MakeRows) -> Callable[[Path, str], Desk]:
    """A new warehouse in a folder, and what chance there is, by name."""

    def make(folder: Path, chance: str) -> Desk:
        store = Store(spark, warehouse=str(folder / "w"), identity=str(folder / "i"))
        return Desk(store, make_rows, np.random.default_rng(zlib.crc32(chance.encode())))

    return make


@pytest.fixture
def raced(
    make_desk: Callable[[Path, str], Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int], str]:
    """Race a pair, by name and seed."""

    def run(name: str, seed: int) -> str:
        folder = tmp_path / str(seed)
        return race(make_desk(folder, f"{name} {seed}"), PAIRS[name], folder, monkeypatch)

    return run


@pytest.mark.parametrize("name", FAST)
def test_two_writes_are_one_after_the_other(raced: Callable[[str, int], str], shown: Shown, name: str) -> None:
    assert raced(name, 0) == "held"
    shown(1, "races")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_of_writes_is_serial(raced: Callable[[str, int], str], shown: Shown, name: str) -> None:
    assert sum(raced(name, seed) == "held" for seed in range(1, 6)) >= 2, "the writers met"
    shown(5, "races")
