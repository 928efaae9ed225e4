"""The same inputs in each server's own words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MODEL = "m"
NEW_TOKENS = 48


@dataclass(frozen=True)
class Ask:
    """One POST."""

    path: str
    body: bytes
    content_type: str = "application/json"


def _json(path: str, body: Any) -> Ask:
    return Ask(path, json.dumps(body).encode())


def ours(workload: str, inputs: Sequence[str]) -> Ask:
    if workload == "chat":
        return chat(workload, inputs)
    kind = "image" if workload == "image" else "text"
    if len(inputs) == 1:
        return _json("/predict", {kind: inputs[0]})
    return _json("/predict", {f"{kind}s": list(inputs)})


def plain(workload: str, inputs: Sequence[str]) -> Ask:
    """What our own small servers for the peers take."""
    return _json("/predict", {"texts": list(inputs)})


def infinity(workload: str, inputs: Sequence[str]) -> Ask:
    path = "/classify" if workload == "classification" else "/embeddings"
    return _json(path, {"model": MODEL, "input": list(inputs)})


def open_inference(workload: str, inputs: Sequence[str]) -> Ask:
    tensor = {
        "name": "texts",
        "shape": [len(inputs), 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "str"},
        "data": list(inputs),
    }
    return _json(f"/v2/models/{MODEL}/infer", {"inputs": [tensor]})


def chat(workload: str, inputs: Sequence[str]) -> Ask:
    """``NEW_TOKENS`` or fewer, streamed, always the likeliest."""
    return _json(
        "/v1/chat/completions",
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": inputs[0]}],
            "max_tokens": NEW_TOKENS,
            "temperature": 0,
            "stream": True,
        },
    )
