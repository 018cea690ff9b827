"""The list to use: the best model's, filled up by the next where it ends early."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS, SERVED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE

LAST_RESORTS = ("personal_frequency", "popularity")
"""What serves after the models of the settings; there is a popular list for every known customer."""


@produces(SERVED_PRODUCTS, lists=RECOMMENDED_PRODUCTS)
def serve_lists(*, lists: DataFrame, settings: RecommendSettings) -> DataFrame:
    """Take each customer's products from the first model that has any left, and say which it was.

    Models serve in the order of ``settings.models``, then own habits, then what is popular: so that a customer with a
    short past is told what the segment buys, one without a past what everybody buys, and a product that hardly
    anybody bought yet comes from what describes it.

    Args:
        lists: recommend.products of one date.
        settings: The models, and the length of the lists.

    Returns:
        recommend.served; no product twice in a list.
    """
    order = [*settings.models, *LAST_RESORTS]
    turn = F.array_position(F.array(*[F.lit(model) for model in order]), F.col("model"))
    first = F.min(F.struct(turn.alias("turn"), F.col("rank").alias("model_rank"), "model", "is_repeat")).alias("first")
    # One layout serves both: by customer.
    offered = (
        lists.where(turn > 0)
        .repartition("customer_id")
        .groupBy("customer_id", "slot", "product_id", AS_OF_DATE)
        .agg(first)
        .select("customer_id", "slot", "product_id", AS_OF_DATE, "first.*")
    )
    ranked = Window.partitionBy("customer_id", "slot").orderBy("turn", "model_rank", "product_id")
    return offered.withColumn("rank", F.row_number().over(ranked)).where(F.col("rank") <= settings.list_length)
