"""What a person types: an ordinary client of the control API."""

from __future__ import annotations
