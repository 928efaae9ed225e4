"""Small models that come with the package, so that a first deployment needs no network."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
_NAMES = ("digits", "sentiment")


def names() -> list[str]:
    """The embedded models, in alphabetical order."""
    return list(_NAMES)


def path(name: str) -> Path:
    """The directory of an embedded model, in the Hub's layout; raises `KeyError` if unknown."""
    if name not in _NAMES:
        raise KeyError(name)
    return _FOLDER / name
