"""Each shape of a record has its format, so that an older modeldeploy does not read a newer one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from modeldeploy.supervisor.migrations import MIGRATIONS
from modeldeploy.supervisor.record import Record

# What a body is made of, by format. Another shape needs another format: a step in
# `migrations.py`, empty where older bodies are read as they are, and its line here.
SHAPES = {3: "2c7b5a347b4752f0", 4: "f7d9d2d6f4145c4a"}


def _bare(schema: Any) -> Any:
    """Without words, which may change as they like."""
    if isinstance(schema, dict):
        return {k: _bare(v) for k, v in schema.items() if k not in {"description", "title"}}
    return [_bare(one) for one in schema] if isinstance(schema, list) else schema


def test_the_shape_of_records_is_that_of_the_newest_format() -> None:
    schema = json.dumps(_bare(msgspec.json.schema(Record)), sort_keys=True)
    shape = hashlib.sha256(schema.encode()).hexdigest()[:16]
    assert shape == SHAPES[len(MIGRATIONS)], "records have changed: see the comment above"
