"""The supervisor: records intent, reconciles, owns ports, state and logs. Never imports torch."""

from __future__ import annotations
