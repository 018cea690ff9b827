"""Write the masked views of each role: what analysts, auditors and marketers may see of the tables.

For instance:
  ./spark-submit.sh jobs/views.py
  ./spark-submit.sh jobs/views.py --config conf/local.yaml --set views.smallest_group=50
"""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.runtime.store import Store
from promo_spark.runtime.view_files import keeps_views, write_views


def add_arguments(_: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def answer(_: argparse.Namespace, settings: Settings, store: Store) -> str:
    """Write the views and say where they are.

    Raises:
        StorageError: There is no table yet.
    """
    spark = SparkSession.active()
    places = write_views(spark, store, settings.places.warehouse, settings.views)
    done = "made in the metastore" if keeps_views(spark) else "no metastore here: run the file on your platform"
    return "\n".join(f"{role}: {place} ({done})" for role, place in places.items())
