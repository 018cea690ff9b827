"""A real PostgreSQL for a test: made in a folder of its own, on a free port of this machine, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "shop_reader", "canary-1f6b2e"


@dataclass(frozen=True)
class Database:
    """A running server."""

    programs: Path
    port: int

    @property
    def url(self) -> str:
        return f"jdbc:postgresql://127.0.0.1:{self.port}/postgres"

    def execute(self, statements: str) -> None:
        subprocess.run(
            [self.programs / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", "postgres", "-q"],
            input=f"\\set ON_ERROR_STOP 1\n{statements}",
            env={**os.environ, "PGPASSWORD": PASSWORD},
            text=True,
            check=True,
            capture_output=True,
        )


@contextmanager
def running_database() -> Iterator[Database]:
    """Start a server, or skip the test where the machine has none."""
    programs = _programs()
    # The server refuses to run as root, and its folder must be its user's own.
    account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="promo_spark_postgres_"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if account:
            for path in (folder, secret):
                shutil.chown(path, "nobody", "nogroup")
        data = str(folder / "data")
        make = [programs / "initdb", "-D", data, "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8"]
        subprocess.run([*make, "--locale=C", "--no-sync"], check=True, capture_output=True, cwd=folder, **account)
        port = _free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control = [programs / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", str(folder / "log")]
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)
        try:
            yield Database(programs, port)
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=folder, **account
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    known = [Path(found).parent for found in (shutil.which("initdb"),) if found]
    known += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in known:
        if all((folder / program).is_file() for program in ("initdb", "pg_ctl", "psql")):
            return folder
    pytest.skip("no PostgreSQL on this machine: 'make faults' installs it where it may")


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
