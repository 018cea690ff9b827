"""Who the customers are: clusters, what makes each different, and why that many."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, MONEY, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Date of the features")
_SEGMENT = Column("segment_id", T.IntegerType(), "Segment, 0 the most valuable, by mean weekly spend")

SEGMENT_CUSTOMERS = TableContract(
    name="segments.customers",
    grain="one row per customer with features",
    key=("customer_id", AS_OF_DATE),
    columns=(
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True),
        _AS_OF,
        Column("segment_id", T.IntegerType(), "Segment, 0 the most valuable", required=True),
        Column(
            "distance",
            T.DoubleType(),
            "Distance to the segment's centre in the scaled space",
            unit="standard deviations",
        ),
        Column("value_tier", T.StringType(), "high-value, potential, at-risk or new", required=True),
    ),
    checks=("segment_id >= 0", "value_tier IN ('high-value', 'potential', 'at-risk', 'new')"),
)

SEGMENT_PROFILES = TableContract(
    name="segments.profiles",
    grain="one row per segment",
    key=("segment_id", AS_OF_DATE),
    columns=(
        _SEGMENT,
        _AS_OF,
        Column("segment_name", T.StringType(), "What a manager would call it", required=True),
        Column("description", T.StringType(), "How it differs from the average customer, in words", required=True),
        Column("customer_count", T.LongType(), "Customers", unit="count", required=True),
        Column("customer_rate", T.DoubleType(), "Share of customers", unit="share"),
        Column("sales_rate", T.DoubleType(), "Share of spend in the 91 days before", unit="share"),
        Column("spend_91d_amount", MONEY, "Spend in the 91 days before", unit="currency"),
        Column("averages", T.MapType(T.StringType(), T.DoubleType()), "Mean of each profile feature"),
        Column(
            "contrasts",
            T.MapType(T.StringType(), T.DoubleType()),
            "Mean against all customers",
            unit="standard deviations",
        ),
        Column("favourite_categories", T.ArrayType(T.StringType()), "Categories it over-buys most, best first"),
        Column("map_x", T.DoubleType(), "Centre on the first principal component"),
        Column("map_y", T.DoubleType(), "Centre on the second principal component"),
    ),
    checks=("customer_count > 0",),
)

SEGMENT_QUALITY = TableContract(
    name="segments.quality",
    grain="one row per number of clusters tried",
    key=("cluster_count", AS_OF_DATE),
    columns=(
        Column("cluster_count", T.IntegerType(), "Clusters"),
        _AS_OF,
        Column("silhouette", T.DoubleType(), "Mean silhouette (squared Euclidean)", unit="-1 to 1"),
        Column(
            "stability_ari",
            T.DoubleType(),
            "Mean adjusted Rand index between fits on resamples",
            unit="-1 to 1",
        ),
        Column("stability_ari_sd", T.DoubleType(), "Its standard deviation over resamples"),
        Column("smallest_rate", T.DoubleType(), "Share of customers in the smallest cluster", unit="share"),
        Column("is_chosen", T.BooleanType(), "The number used", required=True),
        Column("reason", T.StringType(), "Why it was or was not used"),
    ),
)

SEGMENTS = (SEGMENT_CUSTOMERS, SEGMENT_PROFILES, SEGMENT_QUALITY)
