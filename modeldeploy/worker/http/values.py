"""How many values a body of JSON holds, before any of them is made."""

from __future__ import annotations

from modeldeploy.errors import InvalidRequest

MOST_VALUES = 100_000
_FEW_BYTES = 1 << 17  # whatever stands in so few is read soon enough


def check_values(raw: bytes) -> None:
    """Whatever reads JSON makes all its values in one go, while nobody else's turn comes: more of them
    than any request has are refused before. They are counted outside of strings; what is no JSON is
    for the reader to refuse.

    Raises:
        InvalidRequest: there are too many.
    """
    if len(raw) < _FEW_BYTES or _beginnings(raw) <= MOST_VALUES:
        return
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    many = plain.count(b'"') > 4 * MOST_VALUES  # a key and a text for each
    outside = b"" if many else b"".join(plain.split(b'"')[::2])
    if many or _beginnings(outside) > MOST_VALUES:
        raise InvalidRequest(
            f"the body holds more than {MOST_VALUES} values, which is the limit",
            hint="send several requests, each with less",
        )


def _beginnings(raw: bytes) -> int:
    """No fewer than the values that begin there."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")
