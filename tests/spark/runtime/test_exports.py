"""Lists for other systems."""

from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession

from promo_spark.runtime.exports import write_list


def test_a_list_is_one_file_each_sorted_and_safe_in_a_spreadsheet(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("=1+1", 2), ("b", 1), ("@sum", 3), ("-5", 4), ('a;b,"c"', 5)]
    frame = spark.createDataFrame(rows, "customer_id string, slot int").repartition(3)
    place = str(tmp_path / "sends" / "2017-06-05")
    for _ in range(2):  # a repeat replaces
        csv, parquet = write_list(spark, place, "mail", frame, ("slot",))
    told = pd.read_csv(csv)
    assert told["customer_id"].tolist() == ["b", "'=1+1", "'@sum", "'-5", 'a;b,"c"']
    assert pd.read_parquet(parquet)["customer_id"].tolist() == ["b", "=1+1", "@sum", "-5", 'a;b,"c"']
    visible = {entry.name for entry in Path(place).iterdir() if not entry.name.endswith(".crc")}
    assert visible == {"mail.csv", "mail.parquet"}
