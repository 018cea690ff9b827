"""Replace customer ids by keyed pseudonyms before anything else sees them.

HMAC-SHA-256 (RFC 2104) of the id under a secret key, its first 32 hexadecimal digits (128 bits: among
a thousand million customers two share one with a chance below 1 in 10^20). The key is read where it
is used, on the executor; it is never in a plan, a log or the configuration.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import Column as Expression
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import arrow_udf

from promo_spark.contracts.settings import Places
from promo_spark.errors import SettingsError

KEY_VARIABLE = "PROMO_SPARK_KEY"
_DIGITS = 32
_KEY_BYTES = 32
_OLD_KEY = (
    "With another key every customer would be a second one. Bring the old one back, or start a new warehouse and "
    "a new identity root."
)


def ensure_key(places: Places, *, known: tuple[str, str] | None = None) -> str:
    """Make sure that there is the right key, on the driver; a first local run makes one.

    Args:
        places: Where the key file is.
        known: A raw id and its pseudonym under the key version of ``places``; None while there are no customers.

    Returns:
        Absolute place of the key file; executors read the variable ``PROMO_SPARK_KEY`` first, then this
        file, then a file of its name shipped with ``--files``.

    Raises:
        SettingsError: The key is too short, others can read its file, or it is not the one that made the
            pseudonyms so far.
    """
    key_file = _place_of_key(places, may_make=known is None)
    if known is not None and pseudonym_of(known[0], read_key(key_file)) != known[1]:
        where = f"the variable {KEY_VARIABLE}" if KEY_VARIABLE in os.environ else key_file
        raise SettingsError(f"the key in {where} is not the one that made the pseudonyms so far. {_OLD_KEY}")
    return key_file


def _place_of_key(places: Places, *, may_make: bool) -> str:
    if KEY_VARIABLE in os.environ:
        _long_enough(os.environ[KEY_VARIABLE], f"the environment variable {KEY_VARIABLE}")
        return places.key_file
    if "://" in places.key_file:
        raise SettingsError(
            f"places.key_file {places.key_file} is not a local file. Set {KEY_VARIABLE} for driver and "
            "executors, or name a local file and ship it with --files."
        )
    path = Path(places.key_file).expanduser().resolve()
    if not path.exists():
        if not may_make:
            raise SettingsError(f"there is no key at {path} (places.key_file), but there are pseudonyms. {_OLD_KEY}")
        _make_key(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SettingsError(
            f"{path} can be read by others (mode {mode:04o}). Whoever has the key can undo the pseudonyms: "
            f"run chmod 600 {path}."
        )
    _long_enough(path.read_text(), str(path))
    return str(path)


def pseudonym(raw_id: Expression, key_file: str) -> Expression:
    """The pseudonym of a raw customer id; NULL or blank stays NULL.

    Args:
        raw_id: Column with the retailer's own ids.
        key_file: What ``ensure_key`` returned.
    """

    # Spark takes the kind of function from the annotations; its stubs want it spelt out.
    @arrow_udf(T.StringType())  # type: ignore[call-overload,untyped-decorator]
    def token(ids: pa.Array) -> pa.Array:
        encoded = ids.dictionary_encode()
        key = read_key(key_file)
        tokens = [pseudonym_of(raw, key) for raw in encoded.dictionary.to_pylist()]
        return pa.array(tokens, pa.string()).take(encoded.indices)

    replaced: Expression = token(raw_id)
    return replaced


def pseudonym_of(raw_id: str, key: bytes) -> str | None:
    """The pseudonym of one id."""
    return hmac.digest(key, raw_id.encode(), "sha256").hex()[:_DIGITS] if raw_id.strip() else None


@lru_cache(maxsize=4)
def read_key(key_file: str) -> bytes:
    """Read the key where the code runs: variable, file, or file shipped with ``--files``."""
    if KEY_VARIABLE in os.environ:
        return os.environ[KEY_VARIABLE].strip().encode()
    path = Path(key_file)
    if not path.exists():
        path = Path(SparkFiles.get(path.name))
    if not path.exists():
        raise SettingsError(
            f"there is no pseudonym key on this executor. Set {KEY_VARIABLE} for executors too "
            f"(spark.executorEnv.{KEY_VARIABLE} would log it: use your cluster's secrets), or ship the file "
            f"with --files {key_file}."
        )
    return path.read_text().strip().encode()


def _make_key(path: Path) -> None:
    """Make a key, whole or not at all: half a key would be taken for one, or stand in the way of the next run."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_bytes(_KEY_BYTES).hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(unfinished)
        finally:
            unfinished.unlink()
    except FileExistsError:
        return
    except OSError as fault:
        raise SettingsError(
            f"no key can be made at {path} ({fault.strerror}). Set places.key_file or {KEY_VARIABLE}."
        ) from fault


def _long_enough(key: str, where: str) -> None:
    if len(key.strip().encode()) < _KEY_BYTES:
        raise SettingsError(
            f"the key in {where} is shorter than {_KEY_BYTES} bytes. "
            "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
        )
