"""Packaging of promo_spark; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Read the version without importing the package, which would need pyspark."""
    text = (ROOT / "promo_spark" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('promo_spark/__init__.py has no line __version__ = "…"')
    return found.group(1)


def read_requirements() -> list[str]:
    """Read what the package needs to run, without comments."""
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    return [line for line in (line.partition("#")[0].strip() for line in lines) if line]


setup(
    name="promo_spark",
    version=read_version(),
    description="Decide which customer gets which promotion, and measure what it was worth.",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["promo_spark", "promo_spark.*"]),
    package_data={"promo_spark.report": ["templates/*"]},
    python_requires=">=3.11",
    install_requires=read_requirements(),
)
