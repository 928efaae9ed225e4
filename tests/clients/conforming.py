"""Whether a server does what its OpenAPI document says: Schemathesis, a few examples of each operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    negative_data_rejection,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 5
SECONDS = 30.0


def conform(
    operation: Any,
    mode: GenerationMode,
    session: requests.Session,
    tame: Callable[[Any], None],
) -> None:
    """What is allowed works or is refused as documented; what is not is refused; nothing is a 5xx.
    ``tame`` changes a case that would do more than that."""
    if not (operation.body or operation.query) and mode is GenerationMode.NEGATIVE:
        return  # nothing is sent that could be wrong

    @seed(0)
    @settings(
        max_examples=EXAMPLES if operation.body or operation.query else 1,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case: Any) -> None:
        tame(case)
        case.call_and_validate(session=session, checks=CHECKS, timeout=SECONDS)

    conforms()


def tame_echo(case: Any) -> None:
    """The echo task can be asked to fail and to wait: that it does so is tested elsewhere."""
    _tame(case.body)


def _tame(body: Any) -> None:
    if isinstance(body, dict):
        if body.get("fail") is True:
            body["fail"] = False
        if isinstance(body.get("delay"), int | float) and 0 <= body["delay"] <= 600:
            body["delay"] = 0
    for child in (
        body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    ):
        _tame(child)
