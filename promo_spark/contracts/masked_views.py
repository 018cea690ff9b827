"""Views that show a role only what it may see, written as SQL from the privacy marks of the contracts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pyspark.sql import types as T

from promo_spark.contracts.consent import CUSTOMER_ID
from promo_spark.contracts.source_settings import Frozen
from promo_spark.contracts.sql_text import literal, quoted
from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_]{0,40}\.)?[a-z][a-z0-9_]{0,40}$")]


class ViewRole(Frozen):
    """What a role sees of the columns that the contracts mark."""

    identifiers: Literal["removed", "hashed", "shown"] = Field(
        default="hashed", description="Pseudonyms and codes; hashed, they still join within the role, and with no other"
    )
    personal: Literal["removed", "shown"] = Field(default="removed", description="What else describes one customer")
    sensitive: Literal["removed", "grouped"] = Field(
        default="removed", description="grouped: shown where smallest_group customers or more share the value"
    )


class ViewSettings(Frozen):
    """Masked views (jobs/views.py)."""

    roles: dict[Name, ViewRole] = Field(
        default_factory=lambda: {
            "analyst": ViewRole(),
            "auditor": ViewRole(sensitive="grouped"),
            "marketer": ViewRole(identifiers="removed"),
        },
        min_length=1,
    )
    smallest_group: int = Field(default=20, ge=2)
    schema_prefix: Prefix = Field(default="promo_spark", description="Views of a role lie in <schema_prefix>_<role>")
    tables_in: Prefix | None = Field(
        default=None,
        description="Schema in which the tables are registered as layer_entity; unless said, files are read by path",
    )


@dataclass(frozen=True)
class RoleViews:
    """The views of a role: nothing of a table's content enters their SQL, and of settings only names.

    Args:
        name: The role.
        role: What it sees.
        settings: Where views and tables lie.
    """

    name: str
    role: ViewRole
    settings: ViewSettings

    def statements(self, tables: Mapping[str, str], contracts: Iterable[TableContract]) -> list[str]:
        """Write the statements that make the views, in order, without their semicolons.

        Args:
            tables: Folder of each table that exists, by name; the others are left out.
            contracts: The tables. Those of the layer identity have no view.
        """
        views = [self._view(contract, tables[contract.name]) for contract in _shown(tables, contracts)]
        return [f"CREATE SCHEMA IF NOT EXISTS {self._schema}", *views]

    def grants(self, tables: Iterable[str], contracts: Iterable[TableContract]) -> list[str]:
        """Write the grants on the views to the group of the role's name, for platforms that have them."""
        group = quoted(self.name)
        views = [f"GRANT SELECT ON VIEW {self._address(contract)} TO {group}" for contract in _shown(tables, contracts)]
        return [f"GRANT USAGE ON SCHEMA {self._schema} TO {group}", *views]

    @property
    def _schema(self) -> str:
        return _qualified(f"{self.settings.schema_prefix}_{self.name}")

    def _address(self, contract: TableContract) -> str:
        return f"{self._schema}.{quoted(_flat(contract))}"

    def _view(self, contract: TableContract, folder: str) -> str:
        seen = [(column, self._expression(contract, column)) for column in contract.columns]
        shown = [(column, expression) for column, expression in seen if expression is not None]
        columns = ",\n  ".join(f"{quoted(column.name)} COMMENT {_text(column.comment)}" for column, _ in shown)
        select = ",\n  ".join(f"{expression} AS {quoted(column.name)}" for column, expression in shown)
        return (
            f"CREATE OR REPLACE VIEW {self._address(contract)} (\n  {columns}\n)\nCOMMENT {_text(contract.grain)}\n"
            f"AS SELECT\n  {select}\nFROM {self._stored(contract, folder)}"
        )

    def _stored(self, contract: TableContract, folder: str) -> str:
        if self.settings.tables_in is None:
            return f"delta.{quoted(folder)}"
        return f"{_qualified(self.settings.tables_in)}.{quoted(_flat(contract))}"

    def _expression(self, contract: TableContract, column: Column) -> str | None:
        """A column as the role sees it; None where it does not."""
        name = quoted(column.name)
        if column.sensitive:
            is_grouped = self.role.sensitive == "grouped"
            return _grouped(contract, name, self.settings.smallest_group) if is_grouped else None
        if _identifies(contract, column):
            hashed = f"sha2(concat_ws('|', {_text(self.name)}, {name}), 256)"
            masked = f"CASE WHEN {name} IS NOT NULL THEN {hashed} END"
            return {"removed": None, "hashed": masked, "shown": name}[self.role.identifiers]
        return None if column.personal and self.role.personal == "removed" else name


def _shown(tables: Iterable[str], contracts: Iterable[TableContract]) -> list[TableContract]:
    known = set(tables)
    return [contract for contract in contracts if contract.name in known and contract.layer != "identity"]


def _identifies(contract: TableContract, column: Column) -> bool:
    is_key = column.name in contract.key or column.name == CUSTOMER_ID
    return column.personal and is_key and isinstance(column.dtype, T.StringType)


def _grouped(contract: TableContract, name: str, smallest: int) -> str | None:
    """Only where a row is a customer does counting rows count customers; elsewhere nothing is shown."""
    if set(contract.key) - {AS_OF_DATE} != {CUSTOMER_ID}:
        return None
    day = f"{quoted(AS_OF_DATE)}, " if AS_OF_DATE in contract.key else ""
    return f"CASE WHEN count(*) OVER (PARTITION BY {day}{name}) >= {smallest:d} THEN {name} END"


def _flat(contract: TableContract) -> str:
    return f"{contract.layer}_{contract.entity}"


def _qualified(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _text(words: str) -> str:
    """A string literal on one line: each view is one readable statement."""
    return literal(words.replace("\n", " "))
