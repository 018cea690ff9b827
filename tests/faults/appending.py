"""A process that appends to a warehouse without holding its lock: ``appending.py ROOT NAME COUNT CONF...``."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.rows import contract_frame
from promo_spark.runtime.session import CONFIGURATION
from promo_spark.runtime.store import Store

EVERY = 10

if __name__ == "__main__":
    root, name, count, *conf = sys.argv[1:]
    builder = SparkSession.builder.master("local[1]").appName(name)
    for key, value in {**CONFIGURATION, **dict(word.split("=", 1) for word in conf)}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    store = Store(spark, warehouse=f"{root}/w", identity=f"{root}/i")
    for number in range(int(count)):
        row = (f"{name} {number}", name, 1)
        store.write(IDENTITY_CUSTOMERS, contract_frame(spark, IDENTITY_CUSTOMERS, [row]), expected=1)
        if number % EVERY == 0:  # the other process brings the same
            shared = [(f"shared {n}", "both", 1) for n in range(number + 1)]
            store.append_missing(IDENTITY_CUSTOMERS, contract_frame(spark, IDENTITY_CUSTOMERS, shared))
    spark.stop()
