"""What crosses a process boundary, as msgspec types. Imports nothing above itself."""

from __future__ import annotations
