"""One real prediction through the deployment's own port: the last stage of every start."""

from __future__ import annotations

import http.client

import msgspec

from modeldeploy.schema import tasks
from modeldeploy.schema.problem import Problem
from modeldeploy.transport import connection_to

_SECONDS = 300.0


def smoke(url: str, task: str, name: str, key: str) -> Problem | None:
    """Send the task's own example with the supervisor's own API ``key``; None when the deployment
    ``name`` answered it with 200."""
    schema = tasks.find(task)
    assert schema is not None, "the fetcher named it"
    body = msgspec.json.encode(schema.smoke_body())
    connection = connection_to(url, _SECONDS)
    try:
        headers = {"content-type": "application/json", "x-api-key": key}
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        return _failed(f"it did not answer ({error})")
    finally:
        connection.close()
    if response.status == 200:
        return None if _author(answer) == name else _failed("somebody else answers on its port")
    return _failed(f"it answered {response.status}: {_message(answer)}")


def _failed(why: str) -> Problem:
    return Problem(
        code="smoke_failed",
        message=f"the model was loaded, but its first prediction failed: {why}",
        hint="see modeldeploy logs NAME; is --task the right one for this model?",
    )


def _author(answer: bytes) -> str | None:
    try:
        found: str | None = msgspec.json.decode(answer)["deployment_id"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    return found


def _message(answer: bytes) -> str:
    try:
        return str(msgspec.json.decode(answer)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return answer[:200].decode("utf-8", "replace")
