"""The one door to Delta: every table is read and written here, and nothing passes unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import delta.exceptions.captured  # noqa: F401  (makes Delta's own errors arrive as Python exceptions)
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.gate import (
    REASONS,
    accepted_rows,
    clear_rows,
    judge_rows,
    rejected_rows,
    repeated_keys,
    settle_repeats,
    suspect_rows,
)
from promo_spark.contracts.persisted import persisted
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.table import AS_OF_DATE, TableContract, rejected_of
from promo_spark.errors import ConflictError, ContractError
from promo_spark.runtime.commits import commit_rows, take_back_wrong_rows, unless_held
from promo_spark.runtime.conflicts import Overtaken, recomputed
from promo_spark.runtime.delta_log import content_version, newest_version
from promo_spark.runtime.merges import merge_condition
from promo_spark.runtime.places import joined
from promo_spark.runtime.storage_faults import guarded, other_contract
from promo_spark.runtime.table_forms import CONTRACT_PROPERTY, contract_fingerprint, create_table, stored_properties


@dataclass(frozen=True)
class Written:
    """What a write did: rows accepted and refused, and the version of the table after it."""

    accepted: int
    rejected: int
    version: int


class Store:
    """Tables of a warehouse, and of the identity root beside it.

    Args:
        spark: Session with Delta.
        warehouse: Root of all tables but the identities.
        identity: Root of the layer ``identity``.
        least_free: Bytes that a local disk must have free beside as many as a table's last write took.
        is_alone: Nobody else writes the warehouse meanwhile: what a failed write left may be removed.
    """

    def __init__(
        self, spark: SparkSession, *, warehouse: str, identity: str, least_free: int = 0, is_alone: bool = False
    ) -> None:
        self._spark = spark
        self._least_free, self._is_alone = least_free, is_alone
        self._warehouse = warehouse
        self._identity = identity
        self._known: set[tuple[str, str]] = set()

    @property
    def spark(self) -> SparkSession:
        """The session."""
        return self._spark

    def path(self, contract: TableContract) -> str:
        """Folder of a table."""
        root = self._identity if contract.layer == "identity" else self._warehouse
        return joined(root, contract.layer, contract.entity)

    def exists(self, contract: TableContract) -> bool:
        """Whether the table has been created."""
        return self.version(contract) >= 0

    def version(self, contract: TableContract) -> int:
        """Newest version of a table; -1 where there is none."""
        return newest_version(self._spark, self.path(contract))

    def content_version(self, contract: TableContract) -> int:
        """Newest version that changed what a table says: upkeep makes versions, too; -1 where there is none."""
        return content_version(self._spark, self.path(contract))

    def read(self, contract: TableContract, as_of_date: date | None = None) -> DataFrame:
        """Open a table; one that does not exist yet reads as empty.

        Args:
            contract: The table.
            as_of_date: Only this date's rows, for dated tables.

        Raises:
            StorageError: The table lacks columns that its contract has by now, or has them in another type.
        """
        if not self.exists(contract):
            return contract_frame(self._spark, contract)
        stored = self._spark.read.format("delta").load(self.path(contract))
        stored_types = {field.name: field.dataType.simpleString() for field in stored.schema}
        if any(stored_types.get(column.name) != column.dtype.simpleString() for column in contract.columns):
            raise other_contract(contract, self.path(contract))
        frame = stored.select(*contract.column_names)
        return frame if as_of_date is None else frame.where(F.col(AS_OF_DATE) == F.lit(as_of_date))

    def read_before(self, contract: TableContract, as_of_date: date, *, days: int = 1) -> DataFrame:
        """The rows of the newest date at least so many days before a date; empty where there is none."""
        earlier = self.read(contract).where(F.col(AS_OF_DATE) <= F.lit(as_of_date - timedelta(days=days)))
        newest = earlier.agg(F.max(AS_OF_DATE)).collect()[0][0]
        return earlier.where(F.col(AS_OF_DATE) == F.lit(newest))

    def write(
        self,
        contract: TableContract,
        frame: DataFrame,
        *,
        as_of_date: date | None = None,
        expected: int | None = None,
        unless: Column | None = None,
    ) -> Written:
        """Commit rows in the table's own way; those of dated and merged tables are checked against their contract.

        Dated tables replace the date's rows; merged ones keep the newest row per key; appended ones
        grow by what comes. Refused rows go to ``<table>_rejected`` first, so that a crash between the two commits
        leaves the load unfinished rather than the refusals lost. Where another run commits to the table meanwhile,
        all of it is done again (``promo_spark.runtime.conflicts``).

        Args:
            contract: The table.
            frame: Rows in its columns.
            as_of_date: Their date, for dated tables.
            expected: How many rows must arrive in an appended table; if others do, they are taken out again,
                by ``undo_wrong_append`` where a crash came between.
            unless: What no row of an appended table may fulfil before: another run then has done the same.

        Raises:
            ConflictError: Another run writes the same table, and trying again did not help.
            ContractError: A dated or appended table got two rows with one key, rows of another date,
                an appended table another number of rows than expected.
            StorageError: The warehouse cannot be written, or has no room.
        """
        path = self.path(contract)

        def attempt() -> Written:
            self._create(contract)
            if contract.mode == "dated":
                return self._write_dated(contract, frame, as_of_date)
            if contract.mode == "merged":
                accepted, rejected = self._write_merged(contract, frame)
            else:
                accepted, rejected = self._write_appended(contract, frame, expected, unless), 0
            return Written(accepted, rejected, self.version(contract))

        with guarded(self._spark, contract, path, least_free=self._least_free, is_alone=self._writes_alone(contract)):
            return recomputed(attempt, table=contract.name, path=path)

    def _create(self, contract: TableContract) -> None:
        path = self.path(contract)
        known = (path, contract_fingerprint(contract))
        if known in self._known:
            return
        if self.exists(contract):
            self._same_contract(contract, path)
            self._known.add(known)
            return
        create_table(self._spark, contract, path, is_alone=self._writes_alone(contract))
        self._known.add(known)

    def _writes_alone(self, contract: TableContract) -> bool:
        """Whether nobody else writes the table meanwhile: several warehouses may share an identity root."""
        return self._is_alone and contract.layer != "identity"

    def _same_contract(self, contract: TableContract, path: str) -> None:
        if stored_properties(self._spark, path).get(CONTRACT_PROPERTY) != contract_fingerprint(contract):
            raise other_contract(contract, path)

    def _write_dated(self, contract: TableContract, frame: DataFrame, as_of_date: date | None) -> Written:
        if as_of_date is None:
            raise ContractError(f"{contract.name} is written one as_of_date at a time: none was given.")
        with persisted(judge_rows(frame, contract)) as judged:
            is_sound = F.size(REASONS) == 0
            counts = judged.agg(
                F.count("*"),
                F.count_if(is_sound),
                F.count_distinct(F.when(is_sound, F.xxhash64(*contract.key))),
                F.count_if(~F.col(AS_OF_DATE).eqNullSafe(F.lit(as_of_date))),
            ).collect()[0]
            total, sound, hashes, foreign = (int(value) for value in counts)
            rejected = total - sound
            if foreign:
                raise ContractError(f"{contract.name}: {foreign} rows belong to another date than {as_of_date}.")
            if hashes < sound:
                _refuse_repeats(contract, judged)
            where = f"{AS_OF_DATE} = DATE'{as_of_date.isoformat()}'"
            quarantine, refused_at = rejected_of(contract), -1
            if rejected or self.exists(quarantine):
                self._create(quarantine)
                refused = rejected_rows(judged, contract).dropDuplicates(list(quarantine.key))
                committed = commit_rows(refused, self.path(quarantine), replace_where=where).version
                refused_at = self.content_version(quarantine) if committed is None else committed
            kept = commit_rows(accepted_rows(judged, contract), self.path(contract), replace_where=where)
            if self.content_version(quarantine) != refused_at:
                raise Overtaken(quarantine.name)  # these rows, and another run's refusals
        return Written(total - rejected, rejected, self.version(contract) if kept.version is None else kept.version)

    def _write_merged(self, contract: TableContract, frame: DataFrame) -> tuple[int, int]:
        judged = judge_rows(frame, contract)
        with persisted(repeated_keys(judged, contract)) as repeats:
            if not repeats.count():  # each row is sound, and alone with its key
                return self._bring(contract, accepted_rows(judged, contract)), 0
            with persisted(suspect_rows(judged, contract, repeats)) as suspects:
                settled = settle_repeats(suspects, contract)
                refused = settled.where(F.size(REASONS) > 0)
                rejected = refused.count()
                if rejected:
                    quarantine = rejected_of(contract)
                    self._create(quarantine)
                    self._bring(quarantine, rejected_rows(refused, contract).dropDuplicates(list(quarantine.key)))
                kept = clear_rows(judged, contract, repeats).unionByName(settled.where(F.size(REASONS) == 0))
                return self._bring(contract, accepted_rows(kept, contract)), rejected

    def _write_appended(
        self, contract: TableContract, frame: DataFrame, expected: int | None, unless: Column | None
    ) -> int:
        rows, held = frame.select(*contract.column_names), self.read(contract)
        if unless is not None:
            held = held.where(unless)
            rows = unless_held(rows, held)
        arrived = commit_rows(rows, self.path(contract), expected=expected).rows
        if unless is not None and not arrived and not held.isEmpty():
            raise ConflictError(
                f"{contract.name} at {self.path(contract)}: another run took the same load in meanwhile, and this one "
                "left it alone. Wait for the other run to end, then run the same command again."
            )
        if expected is not None and arrived != expected:
            self.undo_wrong_append(contract)
            raise ContractError(
                f"{contract.name}: {expected} records were counted in the files and {arrived} arrived; they were taken "
                "out again. Did a file change while it was read? Run again once it is whole."
            )
        return arrived

    def undo_wrong_append(self, contract: TableContract) -> bool:
        """Take out again what appends brought in another number of rows than was expected; all else stays.

        Returns:
            Whether there was something to undo.
        """
        path = self.path(contract)
        return recomputed(lambda: take_back_wrong_rows(self._spark, path, contract.key), table=contract.name, path=path)

    def write_row(self, contract: TableContract, row: Mapping[str, object]) -> Written:
        """Append one row; columns not given are NULL."""
        values = tuple(row.get(name) for name in contract.column_names)
        return self.write(contract, contract_frame(self._spark, contract, [values]))

    def append_missing(self, contract: TableContract, frame: DataFrame) -> Written:
        """Append the rows whose key the table does not hold yet."""
        known = self.read(contract).select(*contract.key)
        return self.write(contract, frame.join(known, list(contract.key), "left_anti"))

    def _bring(self, contract: TableContract, frame: DataFrame) -> int:
        """Append to an empty table, merge by key into another; the number of rows brought."""
        stored = self.read(contract)
        if stored.isEmpty():
            brought = commit_rows(unless_held(frame, stored), self.path(contract)).rows
            if brought or self.read(contract).isEmpty():
                return brought
        with persisted(frame) as rows:
            target = DeltaTable.forPath(self._spark, self.path(contract)).alias("t")
            merge = target.merge(rows.alias("s"), merge_condition(contract, rows))
            newer = "s.ingest_sequence >= t.ingest_sequence"
            merge.whenMatchedUpdateAll(condition=newer).whenNotMatchedInsertAll().execute()
            return rows.count()


def _refuse_repeats(contract: TableContract, judged: DataFrame) -> None:
    """Refuse rows with one key; hashes alone may have collided."""
    doubled = accepted_rows(judged, contract).groupBy(*contract.key).count().where("count > 1").count()
    if doubled:
        raise ContractError(
            f"{contract.name}: {doubled} keys ({', '.join(contract.key)}) come up more than once. "
            f"It holds {contract.grain}."
        )
