"""The command line that every job shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from promo_spark.contracts.settings import Settings
from promo_spark.errors import PromoSparkError
from promo_spark.runtime.logs import configure_logs, one_event
from promo_spark.runtime.pipeline import Pipeline, in_order
from promo_spark.runtime.runner import Outcome, run_stages
from promo_spark.runtime.settings import load_settings

DEFAULT_CONFIG = Path("conf/local.yaml")


def run_job(
    *pipelines: Pipeline,
    summary: str | None = None,
    closing: Callable[[Outcome], None] | None = None,
    first: Callable[[Settings, bool], None] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the command line, run the stages, and turn faults into one message and an exit code.

    Args:
        *pipelines: The stages; put in order by what they read and write.
        summary: What the job is for, when it runs more than one stage.
        closing: Last words of a successful job.
        first: What comes before the stages; gets the settings and whether finished stages are run again.
        arguments: Command line, for tests.

    Returns:
        0, or the exit code of the fault (see ``promo_spark.errors``).
    """
    ordered = in_order(pipelines)
    options = _parser(ordered, summary or ordered[0].summary).parse_args(arguments)
    configure_logs(options.log_format)

    def work() -> None:
        settings = load_settings(options.config or [DEFAULT_CONFIG], options.set)
        if options.dry_run:
            sys.stdout.write(f"{_flow(ordered)}\n")
            return
        if first is not None:
            first(settings, options.force)
        run_stages(ordered, settings, force=options.force, closing=closing)

    return exit_code_of(work)


def exit_code_of(work: Callable[[], None]) -> int:
    """Do a job's work: 0, or one message and the exit code of what stopped it."""
    try:
        work()
    except PromoSparkError as fault:
        sys.stderr.write(f"error: {one_event(str(fault))}\n")
        return fault.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; run the same command again to go on where it stopped.\n")
        return 130
    return 0


def _parser(pipelines: tuple[Pipeline, ...], summary: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=f"stages, in order:\n{_flow(pipelines)}\n\nexamples:\n"
        "  ./spark-submit.sh jobs/pipeline.py --config conf/local.yaml\n"
        "  ./spark-submit.sh jobs/plan.py --config conf/local.yaml --set plan.budget_amount=2000\n"
        "  ./spark-submit.sh --master spark://host:7077 jobs/pipeline.py --config conf/cluster.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="FILE",
        help=f"settings file; may be given more than once, later ones win (default: {DEFAULT_CONFIG})",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, for instance as_of_date=2017-10-30",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the settings, show what would run, and stop")
    parser.add_argument("--force", action="store_true", help="run stages even if they finished with the same inputs")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="form of the log lines")
    return parser


def _flow(pipelines: tuple[Pipeline, ...]) -> str:
    lines = []
    for number, pipeline in enumerate(pipelines, 1):
        lines.append(f"  {number}. {pipeline.name}: {pipeline.summary}")
        lines.append(f"       reads   {', '.join(table.name for table in pipeline.reads) or 'what its settings name'}")
        lines.append(f"       writes  {', '.join(table.name for table in pipeline.writes)}")
    return "\n".join(lines)
