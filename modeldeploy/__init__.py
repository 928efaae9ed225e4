"""One command from a Hugging Face model id to a production-grade HTTP endpoint."""

from __future__ import annotations

__version__ = "0.1.0"
