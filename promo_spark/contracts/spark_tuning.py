"""Which of Spark's own keys settings may set: those that tune it, none that bring code or hold a secret."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

Setting = str | int | float | bool
# Spark's keys that bring jars, files or interpreters, or hand words to a process.
_LOADS_CODE = re.compile(
    r"(?i)jars|classpath|libraryPath|javaOptions|pyFiles|\.files$|archives|packages|repositories|ivy|plugins|listener"
    r"|\.extensions|\.catalog\.|env\.|pyspark\.(driver\.)?python|python\.(daemon|worker)\.module|script|command"
)


def _loads_nothing(tuning: dict[str, Setting]) -> dict[str, Setting]:
    loading = sorted(key for key in tuning if _LOADS_CODE.search(key))
    if loading:
        raise ValueError(
            f"spark is for tuning and cannot load code: give {', '.join(loading)} to spark-submit "
            "by --conf, if you mean it"
        )
    return tuning


def _holds_no_secret(tuning: dict[str, Setting]) -> dict[str, Setting]:
    told = [key for key in tuning if key.startswith("spark.authenticate.secret") or key.lower().endswith("password")]
    if told:
        raise ValueError(
            f"{', '.join(told)}: settings are logged, and no place for secrets; see docs/how-to/encrypt.md"
        )
    return tuning


SparkTuning = Annotated[dict[str, Setting], AfterValidator(_loads_nothing), AfterValidator(_holds_no_secret)]
