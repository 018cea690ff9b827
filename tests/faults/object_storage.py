"""A local S3 server for a test, and what it holds as a folder to compare with another."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"
FAULTS = Path(os.environ.get("PROMO_SPARK_FAULTS", ROOT / ".venv-faults")).absolute()


@dataclass(frozen=True)
class ObjectStorage:
    """A server with one bucket, ``shop``."""

    port: int

    def options(self) -> list[str]:
        """What spark-submit needs to reach it."""
        provider = "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
        own = {
            "endpoint": f"http://127.0.0.1:{self.port}",
            "endpoint.region": "us-east-1",
            "path.style.access": "true",
            "connection.ssl.enabled": "false",
            "aws.credentials.provider": provider,
        }
        named = [word for name, value in own.items() for word in ("--conf", f"spark.hadoop.fs.s3a.{name}={value}")]
        return ["--jars", ",".join(map(str, sorted((FAULTS / "s3-jars").glob("*.jar")))), *named]

    def names(self) -> list[str]:
        """Every object, by name."""
        found: list[str] = []
        token: str | None = ""
        while token is not None:
            query = {"list-type": "2", **({"continuation-token": token} if token else {})}
            page = ET.fromstring(self._get(f"shop?{urllib.parse.urlencode(query)}"))  # noqa: S314  (the test's own server)
            found += [str(entry.findtext(f"{_XML}Key")) for entry in page.iter(f"{_XML}Contents")]
            token = page.findtext(f"{_XML}NextContinuationToken")
        return sorted(found)

    def copy_to(self, folder: Path) -> None:
        """Write every object below a folder: a Delta table is its files, wherever they lie."""
        for name in self.names():
            if not name.endswith("/"):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self._get(f"shop/{urllib.parse.quote(name)}"))

    def _get(self, path: str) -> bytes:
        return _ask(self.port, "GET", path)


# The server wants to be told who asks, and believes it.
_WHO = {"Authorization": "AWS4-HMAC-SHA256 Credential=shop/20170101/us-east-1/s3/aws4_request"}


def _ask(port: int, method: str, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, f"/{path}", headers=_WHO)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == http.HTTPStatus.OK, f"{method} {path}: {answer.status}"
        return content
    finally:
        connection.close()


@contextmanager
def running_object_storage() -> Iterator[ObjectStorage]:
    """Start a server, or skip the test where what it needs is not there."""
    program = FAULTS / "bin/moto_server"
    if not program.is_file() or not list((FAULTS / "s3-jars").glob("*bundle*.jar")):
        pytest.skip(f"no S3 server and jars in {FAULTS}: 'make faults' puts them there")
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = int(asked.getsockname()[1])
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(120):
            try:
                _ask(port, "PUT", "shop")
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.25)
        yield ObjectStorage(port)
    finally:
        server.terminate()
        server.wait()
