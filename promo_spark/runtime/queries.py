"""Jobs beside the pipeline that print an answer: they look something up or keep the warehouse up, untracked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from promo_spark.contracts.settings import Settings
from promo_spark.runtime.erasures import refuse_while_open
from promo_spark.runtime.jobs import DEFAULT_CONFIG, exit_code_of
from promo_spark.runtime.lock import warehouse_lock
from promo_spark.runtime.logs import configure_logs
from promo_spark.runtime.places import absolute
from promo_spark.runtime.session import start_session
from promo_spark.runtime.settings import load_settings
from promo_spark.runtime.store import Store


def run_query(
    summary: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    answer: Callable[[argparse.Namespace, Settings, Store], str],
    arguments: Sequence[str] | None = None,
    *,
    holds_warehouse: bool = False,
    amid_erasures: bool = False,
) -> int:
    """Parse the command line, open the warehouse, print the answer; faults end in one message and an exit code.

    Args:
        summary: What the job is for.
        add_arguments: Declares the job's own arguments.
        answer: Makes the text to print.
        arguments: Command line, for tests.
        holds_warehouse: Keep other runs out meanwhile, because the job writes.
        amid_erasures: Go on even where an erasure or a change of key has not finished, because it may need this job.
    """
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, action="append", metavar="FILE", help=f"settings (default: {DEFAULT_CONFIG})"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    parser.add_argument("--as-of", metavar="DATE", help="day of the decision (default: as_of_date of the settings)")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    configure_logs("text")

    def work() -> None:
        overrides = [*options.set, *([f"as_of_date={options.as_of}"] if options.as_of else [])]
        settings = load_settings(options.config or [DEFAULT_CONFIG], overrides)
        places = settings.places
        with warehouse_lock(places) if holds_warehouse else nullcontext():
            spark = start_session("promo_spark", settings.spark)
            store = Store(spark, warehouse=absolute(places.warehouse), identity=absolute(places.identity))
            if not amid_erasures:
                refuse_while_open(store, ())
            # Ctrl-C reaches this thread alone: were it busy with the JVM, the interrupt would break their talk.
            with ThreadPoolExecutor(1, thread_name_prefix="answer") as pool:
                told = pool.submit(answer, options, settings, store).result()
            sys.stdout.write(f"{told}\n")

    return exit_code_of(work)
