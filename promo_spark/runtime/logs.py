"""Structured logs on standard error: one line an event, as text or JSON."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime


class _Lines(logging.Formatter):
    """One event a line: what looks like another event, in a file's name or a value, is indented."""

    def format(self, record: logging.LogRecord) -> str:
        return one_event(super().format(record))


def one_event(text: str) -> str:
    """Text for a log or a terminal: control characters written out, further lines indented."""
    written = "".join(sign if sign.isprintable() or sign in "\n\t" else f"\\x{ord(sign):02x}" for sign in text)
    return re.sub(r"\n(?=[^\s])", "\n  ", written)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def configure_logs(form: str) -> None:
    """Send the package's logs to standard error as ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    text = _Lines("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(_JsonLines() if form == "json" else text)
    logger = logging.getLogger("promo_spark")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
