"""Secrets kept out of every text that leaves the fetcher."""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]+")  # a signed address is a key
_USERINFO = re.compile(r"(https?://)[^\s/@'\"]+@")
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?<=Bearer )[^\s'\"]+")


class Redactor:
    """Replaces the token in use, anything that looks like one, and the queries of URLs."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def hide(self, secret: str | None) -> None:
        if secret and secret.strip():
            self._known.add(secret.strip())

    def __call__(self, text: str) -> str:
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, "***")
        text = _QUERY.sub(r"\1?***", text)
        text = _USERINFO.sub(r"\1***@", text)
        return _TOKEN.sub("***", text)


class RedactingFormatter(logging.Formatter):
    """Log lines, tracebacks included, without secrets."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))
