"""The formats of the state, each made of the one before by one step of SQL.

A body is a :class:`~modeldeploy.supervisor.record.Record` in JSON. Whoever changes the shape of
records adds a step, though it be empty: an older modeldeploy would write back what it read, without
what it does not know, and must be refused.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    body BLOB NOT NULL
) STRICT;
"""

# `optimize` was yes or no before it was what results may differ by.
_OPTIMIZE = """
UPDATE deployments
SET body = CAST(
    json_set(
        CAST(body AS TEXT),
        '$.spec.optimize',
        iif(json_extract(CAST(body AS TEXT), '$.spec.optimize'), 'equal', 'no')
    ) AS BLOB
)
WHERE json_type(CAST(body AS TEXT), '$.spec.optimize') IN ('true', 'false');
"""

# A file that SQLite finds in order may still have lost a record, or hold another value in it.
_SEALS = """
ALTER TABLE deployments ADD COLUMN serial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployments ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
"""

# `python` and `env` came; older bodies are read as they are.
_INTERPRETERS = ""

# From the format that has seals on, each step is followed by this: bodies may have changed.
SEAL = "UPDATE deployments SET checksum = seal(body, serial);"

MIGRATIONS: tuple[str, ...] = (_FIRST, _OPTIMIZE, _SEALS, _INTERPRETERS)
SEALED = MIGRATIONS.index(_SEALS) + 1
