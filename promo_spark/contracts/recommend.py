"""Which products suit which customer."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_CUSTOMER = Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True)
_AS_OF = Column(AS_OF_DATE, T.DateType(), "Learnt from events strictly before this date")

RECOMMENDED_PRODUCTS = TableContract(
    name="recommend.products",
    grain="one row per customer, model, slot and rank",
    key=("customer_id", "model", "slot", "rank", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("model", T.StringType(), "Which model made the list"),
        Column(
            "slot",
            T.StringType(),
            "all: repeats allowed; novel: products never bought before; cold: products that hardly anybody bought yet",
        ),
        Column("rank", T.IntegerType(), "From 1, the best"),
        Column("product_id", T.StringType(), "Product", required=True),
        Column(
            "score",
            T.DoubleType(),
            "The model's own score; of hybrid the probability of a purchase in the weeks that follow",
        ),
        Column("is_repeat", T.BooleanType(), "The customer bought it before the date", required=True),
    ),
    checks=("rank >= 1", "slot IN ('all', 'novel', 'cold')"),
)

SERVED_PRODUCTS = TableContract(
    name="recommend.served",
    grain="one row per customer, slot and rank: the list to use",
    key=("customer_id", "slot", "rank", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("slot", T.StringType(), "As in recommend.products"),
        Column("rank", T.IntegerType(), "From 1, the best"),
        Column("product_id", T.StringType(), "Product", required=True),
        Column("model", T.StringType(), "Which model this product comes from", required=True),
        Column("model_rank", T.IntegerType(), "Its rank in that model's list", required=True),
        Column("is_repeat", T.BooleanType(), "The customer bought it before the date", required=True),
    ),
    checks=("rank >= 1", "slot IN ('all', 'novel', 'cold')"),
)

FACTORS = TableContract(
    name="recommend.factors",
    grain="one row per customer or product in the factorisation",
    key=("entity", "entity_id", AS_OF_DATE),
    columns=(
        Column("entity", T.StringType(), "customer or product"),
        Column("entity_id", T.StringType(), "customer_id or product_id", personal=True),
        _AS_OF,
        Column("factors", T.ArrayType(T.FloatType()), "Latent factors of the ALS model", required=True),
    ),
    checks=("entity IN ('customer', 'product')",),
)

RECOMMENDED_PROMOTIONS = TableContract(
    name="recommend.promotions",
    grain="one row per customer and rank, over the promotions that are planned",
    key=("customer_id", "rank", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        Column("rank", T.IntegerType(), "From 1, the likeliest to be redeemed"),
        _AS_OF,
        Column("promotion_id", T.StringType(), "Promotion", required=True),
        Column("redemption_prob", T.DoubleType(), "P(redemption | given it), calibrated", unit="probability"),
        Column(
            "model",
            T.StringType(),
            "redemption: learnt; class_rate or overall_rate: how often promotions of its class, or all, were redeemed",
            required=True,
        ),
    ),
    checks=("rank >= 1", "redemption_prob BETWEEN 0 AND 1"),
)

RECOMMEND = (RECOMMENDED_PRODUCTS, SERVED_PRODUCTS, FACTORS, RECOMMENDED_PROMOTIONS)

CUSTOMER_MODELS = ("product_als", "product_rating_residuals")
"""Kept models with a vector per customer: an erasure removes them, and the next run fits them again."""
