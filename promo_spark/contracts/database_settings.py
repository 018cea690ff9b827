"""Where a table of a database is and which of its rows are new: names and numbers, never SQL."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

DRIVERS = {
    "postgresql": "org.postgresql.Driver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "mariadb": "org.mariadb.jdbc.Driver",
}
_URL = re.compile(
    rf"^jdbc:(?P<kind>{'|'.join(DRIVERS)})://[A-Za-z0-9.\-\[\]:]+/[A-Za-z0-9_.\-]+(?:\?(?P<options>.*))?$"
)
# A driver's other options can name classes to load and files to write.
_OPTIONS = {"sslmode", "ssl", "sslrootcert", "currentSchema", "ApplicationName", "connectTimeout", "socketTimeout"}
_NAME = re.compile(r'^([A-Za-z_][A-Za-z0-9_$]*|"[^"`;\\]+")(\.([A-Za-z_][A-Za-z0-9_$]*|"[^"`;\\]+")){0,2}$')
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _safe_url(url: str) -> str:
    matched = _URL.match(url)
    if not matched:
        raise ValueError(
            f"{url.partition('?')[0]!r} is no address of a database: write jdbc:postgresql://host:5432/name, "
            "with user and password in environment variables (user_variable, password_variable)"
        )
    given = [option.partition("=")[0] for option in (matched["options"] or "").split("&") if option]
    unknown = sorted(set(given) - _OPTIONS)
    if unknown:
        raise ValueError(f"url: {', '.join(unknown)} may not be set in it; {', '.join(sorted(_OPTIONS))} may")
    return url


def _table_name(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f'{name!r} is no name of a table: write table, schema.table or schema."Table"')
    return name


def _variable_name(name: str) -> str:
    if not _VARIABLE.match(name):
        raise ValueError("is no name of an environment variable; the secret itself does not belong in settings")
    return name


Variable = Annotated[str, AfterValidator(_variable_name)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ParallelReads(_Section):
    """Several reads at once, each of a range of a column; rows beyond the bounds are read too."""

    column: str = Field(description="Of whole numbers, dates or times")
    lower: int | str = Field(description="About where its values begin")
    upper: int | str = Field(description="About where they end")
    reads: int = Field(ge=2, le=64)


class DatabaseTable(_Section):
    """A table, or a view, that is read through JDBC.

    Without a ``watermark`` the table is read whole at every run, and loaded when it differs from what was loaded.
    """

    url: Annotated[str, AfterValidator(_safe_url)]
    table: Annotated[str, AfterValidator(_table_name)]
    key: tuple[str, ...] = Field(min_length=1, description="Columns that identify a row")
    watermark: str | None = Field(
        default=None, description="A whole number, date or time that later rows have more of: only those are read"
    )
    overlap: int = Field(
        default=0, ge=0, description="So much below the watermark is read again (seconds of a time, days of a date)"
    )
    user_variable: Variable | None = "PROMO_SPARK_DATABASE_USER"
    password_variable: Variable | None = "PROMO_SPARK_DATABASE_PASSWORD"  # noqa: S105  (a name, not the secret)
    fetch_rows: int = Field(default=10_000, ge=1, description="Rows per round trip")
    parallel: ParallelReads | None = None

    @model_validator(mode="after")
    def _overlaps_a_watermark(self) -> DatabaseTable:
        if self.overlap and self.watermark is None:
            raise ValueError("overlap needs a watermark: without one the whole table is read anyway")
        return self

    @property
    def kind(self) -> str:
        """Which database system it is."""
        return self.url.split(":")[1]

    @property
    def place(self) -> str:
        """The table in words, for messages."""
        return f"{self.url.partition('?')[0]} {self.table}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that tell rows apart and which of them are new."""
        return tuple(dict.fromkeys([*self.key, *([self.watermark] if self.watermark else [])]))
