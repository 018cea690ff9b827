"""MLflow that cannot be used is named, with the setting that says where it is."""

import pytest

from promo_spark.contracts.settings import Tracking
from promo_spark.errors import TrackingError
from promo_spark.runtime.tracking import connect


def test_a_database_that_cannot_be_made_is_named(tmp_path: object) -> None:
    uri = f"sqlite:////proc/nothing{tmp_path}/mlflow.db"
    with pytest.raises(TrackingError, match=r"MLflow at sqlite:////proc/nothing.* cannot be used: .*set tracking\.uri"):
        connect(Tracking(uri=uri))
