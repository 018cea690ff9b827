"""What exists: every table of the system, declared once."""

from promo_spark.contracts.assignment import ASSIGNMENT_TABLES
from promo_spark.contracts.audit import AUDIT
from promo_spark.contracts.campaign_effects import CAMPAIGN_TABLES
from promo_spark.contracts.decisions import DECISION_TABLES
from promo_spark.contracts.experiments import EXPERIMENT_TABLES
from promo_spark.contracts.fairness import FAIRNESS_TABLES
from promo_spark.contracts.features import FEATURES
from promo_spark.contracts.ideas import IDEAS
from promo_spark.contracts.identity import IDENTITY
from promo_spark.contracts.kpis import KPI_TABLES
from promo_spark.contracts.learning import LEARNING
from promo_spark.contracts.measurement import MEASUREMENT
from promo_spark.contracts.off_policy import OFF_POLICY_TABLES
from promo_spark.contracts.plans import PLANS
from promo_spark.contracts.recommend import RECOMMEND
from promo_spark.contracts.response import RESPONSE
from promo_spark.contracts.segments import BEHAVIOUR, ENTITY_CLUSTERS, SEGMENTS
from promo_spark.contracts.silver import SILVER
from promo_spark.contracts.table import TableContract, bronze_of
from promo_spark.contracts.truth import TRUTH

BRONZE = tuple(bronze_of(silver) for silver in SILVER)

TABLES: dict[str, TableContract] = {
    table.name: table
    for table in (
        *BRONZE,
        *IDENTITY,
        *SILVER,
        *FEATURES,
        *SEGMENTS,
        *BEHAVIOUR,
        *ENTITY_CLUSTERS,
        *RECOMMEND,
        *RESPONSE,
        *DECISION_TABLES,
        *PLANS,
        *ASSIGNMENT_TABLES,
        *IDEAS,
        *MEASUREMENT,
        *KPI_TABLES,
        *FAIRNESS_TABLES,
        *CAMPAIGN_TABLES,
        *OFF_POLICY_TABLES,
        *EXPERIMENT_TABLES,
        *LEARNING,
        *AUDIT,
        *TRUTH,
    )
}
