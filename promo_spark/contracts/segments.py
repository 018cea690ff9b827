"""Who the customers are: clusters, what makes each different, and why that many."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, MONEY, Column, TableContract

_CUSTOMER = Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True)
_AS_OF = Column(AS_OF_DATE, T.DateType(), "Date of the features")
_SEGMENT = Column("segment_id", T.IntegerType(), "Segment, 0 the most valuable, by mean weekly spend")
_HORIZON = Column(
    "horizon_days", T.IntegerType(), "How far ahead is looked, from the date on", unit="days", required=True
)

SEGMENT_CUSTOMERS = TableContract(
    name="segments.customers",
    grain="one row per customer with features",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("segment_id", T.IntegerType(), "Segment, 0 the most valuable", required=True),
        Column(
            "distance",
            T.DoubleType(),
            "Distance in the scaled space to the segment's centre, or the nearest of them; for hdbscan they are means "
            "of core points, and customers in no dense group are the far ones",
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
    grain="one row per method and number of clusters tried",
    key=("method", "cluster_count", AS_OF_DATE),
    columns=(
        Column("method", T.StringType(), "k_means, bisecting_k_means, gaussian_mixture or hdbscan"),
        Column("cluster_count", T.IntegerType(), "Clusters found"),
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
        Column("noise_rate", T.DoubleType(), "Share of customers in no dense group (hdbscan)", unit="share"),
        Column(
            "later_explained_rate",
            T.DoubleType(),
            "Share of the variance of later spend and shopping days that segments of an earlier date explain "
            "(epsilon squared); NULL without features of a date at least 28 days before",
            unit="share",
        ),
        Column("later_explained_se", T.DoubleType(), "Its standard error (jackknife over customers)"),
        Column("is_chosen", T.BooleanType(), "The one used", required=True),
        Column("reason", T.StringType(), "Why it was or was not used"),
    ),
)

HISTORIES = TableContract(
    name="segments.histories",
    grain="one row per customer with a purchase before the date; passed between steps, not stored",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("shopping_days", T.ArrayType(T.IntegerType()), "Days with a purchase since 1970-01-01, ascending"),
        Column("spend_amounts", T.ArrayType(T.DoubleType()), "What was bought on each of them", unit="currency"),
    ),
    mode="passed",
)

SEGMENT_BEHAVIOUR = TableContract(
    name="segments.behaviour",
    grain="one row per customer with a purchase before the date",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        _HORIZON,
        Column(
            "churn_prob",
            T.DoubleType(),
            "Probability of no purchase within the horizon; NULL where too few left or stayed to learn it",
            unit="probability",
        ),
        Column("purchase_prob", T.DoubleType(), "Probability of a purchase within it", unit="probability"),
        Column("expected_spend_amount", MONEY, "Mean of the spend within it, returns left out", unit="currency"),
        Column("median_spend_amount", MONEY, "Half of the time the customer will spend less", unit="currency"),
    ),
    checks=(
        "churn_prob BETWEEN 0 AND 1",
        "purchase_prob BETWEEN 0 AND 1",
        "expected_spend_amount >= 0",
        "median_spend_amount >= 0",
    ),
)

BEHAVIOUR_QUALITY = TableContract(
    name="segments.behaviour_quality",
    grain="one row per model tried for what customers do next",
    key=("subject", "model", AS_OF_DATE),
    columns=(
        Column("subject", T.StringType(), "churn or spend"),
        Column("model", T.StringType(), "logistic, tree, forest, svm, gbt; linear, blend; bg_nbd; a naive rule"),
        _AS_OF,
        Column("customer_count", T.LongType(), "Customers it was judged on", unit="count", required=True),
        Column("auc", T.DoubleType(), "Chance that who left was scored above who stayed", unit="0 to 1"),
        Column("log_loss", T.DoubleType(), "Mean negative log-likelihood, once calibrated but for bg_nbd", unit="nats"),
        Column(
            "absolute_error_amount",
            T.DoubleType(),
            "Mean absolute error of the median; for bg_nbd of the mean",
            unit="currency",
        ),
        Column("is_chosen", T.BooleanType(), "The one used", required=True),
    ),
)

PURCHASE_SUMMARIES = TableContract(
    name="segments.purchase_summaries",
    grain="one row per customer with a purchase before the date; passed between steps, not stored",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("purchase_day_count", T.LongType(), "Days with a purchase", unit="count"),
        Column("active_days", T.LongType(), "Days from the first of them to the last", unit="days"),
        Column("tenure_days", T.LongType(), "Days from the first to the date", unit="days"),
        Column("purchase_amount", T.DoubleType(), "What was bought on all of them", unit="currency"),
    ),
    checks=("purchase_day_count > 0", "active_days < tenure_days"),
    mode="passed",
)

LIFETIME_VALUES = TableContract(
    name="segments.lifetime_values",
    grain="one row per customer with a purchase before the date",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        _HORIZON,
        Column("alive_prob", T.DoubleType(), "Probability of not having left for good", unit="probability"),
        Column(
            "expected_purchase_count",
            T.DoubleType(),
            "Mean of the days with a purchase within the horizon",
            unit="days",
        ),
        Column("expected_purchase_amount", MONEY, "Mean of what is bought on one of them", unit="currency"),
        Column(
            "lifetime_value_amount",
            MONEY,
            "Mean of what is bought within the horizon, discounted; sales, not margin; returns left out",
            unit="currency",
        ),
    ),
    checks=("alive_prob BETWEEN 0 AND 1", "expected_purchase_count >= 0", "lifetime_value_amount >= 0"),
)

_CLUSTER = (
    Column("cluster_id", T.IntegerType(), "Cluster, numbered from 0", required=True),
    Column("cluster_name", T.StringType(), "How it differs most from all others", required=True),
    Column(
        "distance", T.DoubleType(), "Distance to the cluster's centre in the scaled space", unit="standard deviations"
    ),
)

SEGMENT_PRODUCTS = TableContract(
    name="segments.products",
    grain="one row per product sold before the date; cluster 0 has the highest mean sales",
    key=("product_id", AS_OF_DATE),
    columns=(Column("product_id", T.StringType(), "Product"), _AS_OF, *_CLUSTER),
    checks=("cluster_id >= 0",),
)

SEGMENT_PROMOTIONS = TableContract(
    name="segments.promotions",
    grain="one row per promotion that started before the date; cluster 0 is redeemed most often",
    key=("promotion_id", AS_OF_DATE),
    columns=(
        Column("promotion_id", T.StringType(), "Promotion"),
        _AS_OF,
        *_CLUSTER,
        Column(
            "expected_redemption_rate",
            T.DoubleType(),
            "Redemption rate, pulled towards that of all promotions where few customers were targeted",
            unit="share",
        ),
    ),
    checks=("cluster_id >= 0", "expected_redemption_rate BETWEEN 0 AND 1"),
)

SEGMENT_MIGRATION = TableContract(
    name="segments.migration",
    grain="one row per pair of segments, of the newest date before and of this one, with a common customer",
    key=("previous_segment_id", "segment_id", AS_OF_DATE),
    columns=(
        Column("previous_segment_id", T.IntegerType(), "Segment at the date before; -1 for customers not known then"),
        Column("segment_id", T.IntegerType(), "Segment now; -1 for customers no longer known"),
        _AS_OF,
        Column("previous_date", T.DateType(), "The date before", required=True),
        Column("previous_segment_name", T.StringType(), "Its name then"),
        Column("segment_name", T.StringType(), "Its name now"),
        Column("customer_count", T.LongType(), "Customers", unit="count", required=True),
        Column("customer_rate", T.DoubleType(), "Share of the customers of the previous segment", unit="share"),
        Column("is_match", T.BooleanType(), "The one carries on the other", required=True),
    ),
    checks=("customer_count > 0", "previous_date < as_of_date"),
)

SEGMENTS = (SEGMENT_CUSTOMERS, SEGMENT_PROFILES, SEGMENT_QUALITY, SEGMENT_MIGRATION)
BEHAVIOUR = (SEGMENT_BEHAVIOUR, BEHAVIOUR_QUALITY, LIFETIME_VALUES)
ENTITY_CLUSTERS = (SEGMENT_PRODUCTS, SEGMENT_PROMOTIONS)
