"""A prediction's result for a reader; ``--json`` has all of it."""

from __future__ import annotations

import json
from typing import Any

_NAMES = ("label", "entity_group", "entity", "answer", "token_str")
_BESIDE = ("word", "box")
_LONG = 120  # characters without a space: a file in base64


def readable(result: Any) -> str:
    """Labels with their scores, texts as texts; anything else as JSON."""
    if isinstance(result, dict) and {"labels", "scores"} <= set(result):
        pairs = zip(result["labels"], result["scores"], strict=False)
        return _table([{"label": label, "score": score} for label, score in pairs], "label")
    items = result if isinstance(result, list) else [result]
    if items and all(isinstance(one, dict) for one in items):
        named = next((name for name in _NAMES if all(name in one for one in items)), None)
        if named and all(isinstance(one.get("score"), float) for one in items):
            return _table(items, named)
        if all(_is_text(one) for one in items):
            return "\n\n".join(next(iter(one.values())) for one in items)
    if items and all(isinstance(one, list) and one for one in items):
        parts = [readable(one) for one in items]
        if not any(part.startswith(("[", "{")) for part in parts):
            return "\n\n".join(parts)
    return json.dumps(_shortened(result), indent=2, ensure_ascii=False)


def _is_text(one: dict[str, Any]) -> bool:
    return len(one) == 1 and all(
        isinstance(value, str) and not _is_file(value) for value in one.values()
    )


def _is_file(text: str) -> bool:
    return len(text) > _LONG and " " not in text


def _table(items: list[dict[str, Any]], name: str) -> str:
    width = max(len(str(one[name])) for one in items)
    return "\n".join(
        f"{one[name]!s:<{width}}  {one['score']:.4f}{_beside(one)}".rstrip() for one in items
    )


def _beside(one: dict[str, Any]) -> str:
    found = [one[name] for name in _BESIDE if name in one]
    shown = (
        " ".join(f"{key} {value}" for key, value in part.items())
        if isinstance(part, dict)
        else part
        for part in found
    )
    return "".join(f"  {part}" for part in shown)


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one) for one in value]
    if isinstance(value, str) and _is_file(value):
        return f"{value[:20]}... ({len(value)} characters, whole with --json)"
    return value
