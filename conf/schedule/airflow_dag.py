"""promo_spark in Airflow: copy this file to the DAGs folder and adapt HOME and OPTIONS.

Written for Airflow 3 with the standard provider; for Airflow 2.9 and newer the import of BashOperator is
``airflow.operators.bash``. promo_spark itself needs no Airflow, and Airflow nothing of promo_spark: the tasks call the
launcher. A try that failed is simply run again: it goes on after the last finished stage.
"""

from datetime import UTC, datetime, timedelta

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

HOME = "/opt/promo_spark"
OPTIONS = "--config conf/local.yaml"
# The day on which the run starts; a day that is run later gets its own date, not today's.
DAY = "{{ data_interval_end | ds }}"

RULES = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,  # one run at a time for a warehouse
    "default_args": {"retries": 3, "retry_delay": timedelta(minutes=20), "retry_exponential_backoff": True},
}


def job(name: str, options: str = "") -> BashOperator:
    """One job of promo_spark as a task."""
    return BashOperator(
        task_id=name,
        bash_command=f"cd {HOME} && ./spark-submit.sh jobs/{name}.py {OPTIONS} {options}".strip(),
        pool="promo_spark",  # of one slot: it keeps the two DAGs apart (airflow pools set promo_spark 1 "one run")
    )


with DAG("promo_spark_nightly", schedule="30 3 * * *", **RULES):
    job("pipeline", f"--set as_of_date={DAY}") >> job("export", f"--set as_of_date={DAY}")

with DAG("promo_spark_weekly", schedule="0 12 * * 0", **RULES):
    job("maintain")
