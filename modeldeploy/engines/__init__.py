"""Where workers run, behind one interface."""

from __future__ import annotations
