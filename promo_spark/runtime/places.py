"""Paths and URIs: the one place that knows whether something lies on a local disk."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

from promo_spark.contracts.sql_text import quoted


def is_local(place: str) -> bool:
    """Whether a path or URI lies on this machine's file system."""
    return urlparse(place).scheme in {"", "file"}


def local_path(place: str) -> Path:
    """The local path of a place, absolute."""
    parsed = urlparse(place)
    return Path(parsed.path if parsed.scheme == "file" else place).expanduser().resolve()


def absolute(place: str) -> str:
    """A place that means the same whatever the working directory."""
    return str(local_path(place)) if is_local(place) else place.rstrip("/")


def joined(place: str, *parts: str) -> str:
    """A place below another."""
    return "/".join((place.rstrip("/"), *parts))


def sql_name(place: str) -> str:
    """The Delta table at a place, for a statement."""
    return f"delta.{quoted(place)}"
