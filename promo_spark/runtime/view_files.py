"""Masked views: written beside the tables as SQL, and made where a metastore keeps them."""

from __future__ import annotations

from pyspark.sql import SparkSession

from promo_spark.contracts import TABLES
from promo_spark.contracts.masked_views import RoleViews, ViewSettings
from promo_spark.errors import StorageError
from promo_spark.runtime.files import write_text
from promo_spark.runtime.places import absolute, joined
from promo_spark.runtime.store import Store

_HEAD = "-- Masked views of the role {role}, made by jobs/views.py from the contracts' privacy marks; do not edit.\n\n"


def write_views(spark: SparkSession, store: Store, warehouse: str, settings: ViewSettings) -> dict[str, str]:
    """Write ``<warehouse>/views/<role>.sql`` and ``<role>_grants.sql``, and run the former where views are kept.

    Args:
        spark: Session; views outlive it where its catalog is a metastore.
        store: The tables.
        warehouse: Root of the tables.
        settings: Roles, and where views lie.

    Returns:
        The file of each role.

    Raises:
        StorageError: There is no table yet.
    """
    tables = {name: store.path(contract) for name, contract in TABLES.items() if store.exists(contract)}
    if not tables:
        raise StorageError(f"{warehouse} holds no tables yet: run jobs/pipeline.py first.")
    places = {}
    for name, role in settings.roles.items():
        views = RoleViews(name, role, settings)
        statements, grants = views.statements(tables, TABLES.values()), views.grants(tables, TABLES.values())
        places[name] = joined(absolute(warehouse), "views", f"{name}.sql")
        write_text(spark, places[name], _script(name, statements))
        write_text(spark, joined(absolute(warehouse), "views", f"{name}_grants.sql"), _script(name, grants))
        if keeps_views(spark):
            for statement in statements:
                spark.sql(statement)
    return places


def keeps_views(spark: SparkSession) -> bool:
    """Whether the session's catalog is a metastore, in which views outlive the session."""
    return str(spark.conf.get("spark.sql.catalogImplementation", "in-memory")) == "hive"


def _script(role: str, statements: list[str]) -> str:
    return _HEAD.format(role=role) + "".join(f"{statement};\n\n" for statement in statements)
