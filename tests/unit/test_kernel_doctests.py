import doctest
import importlib
import pkgutil

import pytest

from promo_spark import kernels

MODULES = sorted(module.name for module in pkgutil.iter_modules(kernels.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_doctests_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"{kernels.__name__}.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
