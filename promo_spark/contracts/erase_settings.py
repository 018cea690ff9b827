"""What a user may set of erasure and of a change of the pseudonym key."""

from __future__ import annotations

from pydantic import Field

from promo_spark.contracts.source_settings import Frozen


class EraseSettings(Frozen):
    """Who is to be forgotten. Ids are read from files: on a command line they would end in logs."""

    requests: str | None = Field(default=None, description="CSV file, folder or glob with the ids of who is erased")
    readmit: str | None = Field(
        default=None, description="The same of who was erased, came back and may be taken in again"
    )
    column: str = Field(default="customer_id", min_length=1, description="Column of either that holds the ids")
    no_other_run: bool = Field(
        default=False,
        description="Said by who starts the job on shared storage, where no lock keeps other runs out: there is none",
    )
