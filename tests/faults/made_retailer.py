"""A small retailer's exports, as files in any arrangement, and the settings that read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from promo_spark.contracts.source_settings import SyntheticSource
from promo_spark.sources.synthetic import synthetic_tables

DAY = date(2017, 6, 19)
OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
_ENTITIES = ("order_lines", "products", "promotions", "promotion_products", "assignments", "customers")
_OWN = {"raw_customer_id", "source_ordinal"}
# Quick, and with every part of the stages in use.
QUICK: dict[str, Any] = {
    "segments": {"cluster_counts": [3, 4], "resamples": 2},
    "response": {"categories": 6, "trees": 3, "depth": 2},
    "plan": {"bootstraps": 50},
}


def exports(spark: SparkSession, customers: int) -> dict[str, pd.DataFrame]:
    """The tables of a simulated retailer, each record as text."""
    source = SyntheticSource(kind="synthetic", customers=customers, products=60, categories=6, stores=2, weeks=26)
    tables = synthetic_tables(spark, source)
    found = {}
    for entity in _ENTITIES:
        rows = tables[entity]
        text = rows.select(*(rows[name].cast("string").alias(name) for name in rows.columns)).toPandas()
        if "raw_customer_id" in text:
            text["customer_id"] = text["raw_customer_id"]
        kept = [name for name in text.columns if name not in _OWN and text[name].notna().any()]
        found[entity] = text[kept].sort_values(kept).reset_index(drop=True)
    return found


def write_files(tables: Mapping[str, pd.DataFrame], folder: Path, *, parts: int = 1, seed: int | None = None) -> None:
    """Write each table as so many CSV files, none of them empty; with a seed its records are shuffled first."""
    for entity, rows in tables.items():
        place = folder / entity
        place.mkdir(parents=True)
        ordered = rows if seed is None else rows.sample(frac=1, random_state=seed)
        count = min(parts, len(rows))
        for part in range(count):
            ordered.iloc[part::count].to_csv(place / f"{part:02d}.csv", index=False)


def source(tables: Mapping[str, pd.DataFrame], folder: Path) -> dict[str, Any]:
    """Settings that read the files of a folder."""
    mappings = {
        entity: {"format": "csv", "path": str(folder / entity), "columns": {name: name for name in rows.columns}}
        for entity, rows in tables.items()
    }
    return {"kind": "files", "name": "made", "time_zone": "UTC", "tables": mappings}


def settings_of(root: Path, made: Mapping[str, Any], **sections: object) -> dict[str, Any]:
    """Settings of a run in a folder: warehouse ``w``, identity root ``i``."""
    places = {"warehouse": f"{root}/w", "identity": f"{root}/i", "key_file": f"{root}/i/key"}
    promotions = {"offers": [OFFER]}
    return {"as_of_date": DAY, "source": made, "places": places, "promotions": promotions, **QUICK, **sections}


def keep_key(root: Path) -> None:
    """A pseudonym key, the same wherever it is asked for: tables can be compared."""
    key = root / "i/key"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o600)
    key.write_text("0" * 64)
