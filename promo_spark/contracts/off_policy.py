"""What policies would have earned on past decisions."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Learnt from decisions whose outcomes were known before this date")
_DOUBLES = T.ArrayType(T.DoubleType())

POLICY_LOG = TableContract(
    name="measurement.policy_log",
    grain="one row per past decision and customer, as off-policy estimators read it; passed, not stored",
    key=("decision_id", "customer_id", AS_OF_DATE),
    columns=(
        Column("decision_id", T.StringType(), "The decision"),
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True),
        _AS_OF,
        Column("arm_index", T.IntegerType(), "Arm that was assigned, from 0 for none", required=True),
        Column("propensity", T.DoubleType(), "P(that arm), logged or estimated", unit="probability", required=True),
        Column("reward", T.DoubleType(), "What followed, contact cost taken off", unit="currency", required=True),
        Column("expected", _DOUBLES, "The same, expected of each arm by a model of other customers", required=True),
        Column("supported", _DOUBLES, "1 for each arm that could have been assigned there, else 0", required=True),
        Column(
            "chances",
            _DOUBLES,
            "P(arm) of each arm by each policy but the logged one, one policy after the other",
            required=True,
            personal=True,
        ),
    ),
    checks=("propensity > 0 AND propensity <= 1",),
    mode="passed",
)

OFF_POLICY = TableContract(
    name="measurement.off_policy",
    grain="one row per policy, estimator and limit of its weights",
    key=("policy", "estimator", "clip", AS_OF_DATE),
    columns=(
        Column("policy", T.StringType(), "logged, none, constant:<arm>, personalised (cross-fitted) or plan"),
        Column("estimator", T.StringType(), "ips, snips, doubly_robust, clipped_ips or switch_dr"),
        Column("clip", T.DoubleType(), "Limit of the weights; 0 where there is none"),
        _AS_OF,
        Column("value_amount", T.DoubleType(), "Value per decision, contact cost taken off", unit="currency"),
        Column("standard_error", T.DoubleType(), "Clustered by customer"),
        Column("low_amount", T.DoubleType(), "Lower end of its normal interval", unit="currency"),
        Column("high_amount", T.DoubleType(), "Upper end", unit="currency"),
        Column("bootstrap_low_amount", T.DoubleType(), "Lower quantile of resamples of customers", unit="currency"),
        Column("bootstrap_high_amount", T.DoubleType(), "Upper quantile", unit="currency"),
        Column("gain_amount", T.DoubleType(), "Value less that of giving nothing", unit="currency"),
        Column("gain_error", T.DoubleType(), "Its sampling error, in pairs"),
        Column("effective_count", T.DoubleType(), "Decisions of equal weight that tell as much", unit="count"),
        Column("support_rate", T.DoubleType(), "Share of what it does that the log could have done", unit="ratio"),
        Column("decision_count", T.LongType(), "Rows of the log", unit="count"),
        Column("is_concluded", T.BooleanType(), "Support and effective size suffice", required=True),
        Column("is_followed", T.BooleanType(), "What measurement.policy_values chose", required=True),
        Column("told", T.StringType(), "The verdict in words", required=True),
        Column("learnt_from", T.StringType(), "randomised or observational", required=True),
    ),
    checks=("low_amount <= high_amount", "learnt_from IN ('randomised', 'observational')"),
)

OFF_POLICY_TABLES = (OFF_POLICY,)
