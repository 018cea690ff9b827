"""Whom a purpose leaves out: looked up once for a stage, and asked at each of its reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.consent import CUSTOMER_ID, Purpose, Silence, answers_in_force, names_customers
from promo_spark.contracts.silver import CONSENTS, CUSTOMERS
from promo_spark.contracts.table import TableContract
from promo_spark.errors import HistoryError
from promo_spark.runtime.store import Store

_MARK = "_is_answered"
# So many pseudonyms take some megabytes on every executor, and spare the larger side a shuffle.
_FEW = 200_000


@dataclass(frozen=True)
class _Answers:
    """Customers whose answers set them apart from those who said nothing."""

    customers: DataFrame
    are_left_out: bool


@dataclass
class Consent:
    """What consent leaves of the tables that a stage reads.

    Args:
        store: The tables.
        purpose: What the stage uses customers' data for; none, and accounting, need no consent.
        as_of_date: The day on which answers count.
        silence: What it means to have said nothing, where others did.
    """

    store: Store
    purpose: Purpose | None
    as_of_date: date
    silence: Silence

    def keep(self, contract: TableContract, frame: DataFrame) -> DataFrame:
        """Leave out whom the purpose does not cover.

        Where a row stands for itself without its customer (an order line), it stays, as that of somebody unknown:
        totals remain what they were. Elsewhere it goes.

        Args:
            contract: The table.
            frame: Its rows.

        Raises:
            HistoryError: Silence is no consent, and nobody consents.
        """
        if not names_customers(contract) or self._answers is None:
            return frame
        listed, are_left_out = self._answers.customers, self._answers.are_left_out
        if CUSTOMER_ID in contract.required_columns:
            return frame.join(listed, CUSTOMER_ID, "left_anti" if are_left_out else "left_semi")
        marked = frame.join(listed.withColumn(_MARK, F.lit(True)), CUSTOMER_ID, "left")
        is_covered = F.col(_MARK).isNull() if are_left_out else F.col(_MARK).isNotNull()
        unnamed = marked.withColumn(CUSTOMER_ID, F.when(is_covered, F.col(CUSTOMER_ID)))
        return unnamed.select(*frame.columns)

    @property
    def is_unasked(self) -> bool:
        """Whether silence would be no consent, and nobody's answer is recorded: it cannot be honoured."""
        return self.silence == "withheld" and self._answers is None

    @cached_property
    def _answers(self) -> _Answers | None:
        """None where nobody is left out."""
        if self.purpose is None or self.purpose == "accounting":
            return None
        if not (self.store.exists(CONSENTS) or self.store.exists(CUSTOMERS)):
            return None
        answers = answers_in_force(
            consents=self.store.read(CONSENTS),
            customers=self.store.read(CUSTOMERS),
            purpose=self.purpose,
            as_of_date=self.as_of_date,
        )
        is_granted = F.col("is_granted")
        are_left_out = self.silence == "granted"
        # Only those who differ from the silent, as a leaf: stages put their reads together many times over, and what
        # it takes to find these customers would be planned anew in each. Two copies outlive the loss of a worker.
        differing = answers.where(~is_granted if are_left_out else is_granted).select(CUSTOMER_ID)
        listed = differing.localCheckpoint(storageLevel=StorageLevel.MEMORY_AND_DISK_2)
        count = listed.count()
        if count:
            return _Answers(F.broadcast(listed) if count <= _FEW else listed, are_left_out)
        withheld = 0 if are_left_out else answers.count()
        if withheld:
            raise HistoryError(
                f"nobody has granted {self.purpose} by {self.as_of_date}, {withheld:,} customers withhold it, and "
                f"consent.missing.{self.purpose} is withheld: there is nobody whose data may be used. Map where "
                "consent is granted (silver.consents), or set it to granted if only refusals are recorded."
            )
        return None
