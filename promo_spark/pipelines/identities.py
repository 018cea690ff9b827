"""Raw ids and their pseudonyms, as the jobs at the door see them."""

from __future__ import annotations

from pyspark.sql import functions as F

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.errors import SettingsError
from promo_spark.runtime.stage import Stage


def known_customer(stage: Stage) -> tuple[str, str] | None:
    """Any raw id and the pseudonym it was given under the present version of the key.

    Raises:
        SettingsError: Customers have pseudonyms of another version: under two, one customer would be two.
    """
    present = stage.settings.places.key_version
    customers = stage.store.read(IDENTITY_CUSTOMERS)
    other = customers.where(F.col("key_version") != F.lit(present)).select("key_version").first()
    if other is not None:
        raise SettingsError(
            f"places.key_version is {present}, and the pseudonyms in {stage.settings.places.warehouse} are of version "
            f"{other[0]}: under two versions one customer would be two. Set places.key_version: {other[0]} with its "
            "key, or change the key for good with jobs/rotate_key.py."
        )
    row = customers.select(RAW_CUSTOMER_ID, "customer_id").first()
    return None if row is None else (row[0], row[1])
