"""A text that is wanted token by token: the events that the native and the Hugging Face dialect
send, each with its own shape of an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from msgspec.structs import replace
from starlette.responses import Response

from modeldeploy.errors import InvalidRequest, ModelDeployError
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.requests import Asked
from modeldeploy.worker.http.routing import EVENTS, acceptable
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.http.sse import EventStream, event
from modeldeploy.worker.http.streams import Stream, Streams


async def token_events(
    service: Service, asked: Asked, exchange: Exchange, failure: Callable[[ModelDeployError], Any]
) -> Response:
    """An event for each token; ``failure`` makes the last one of an error on the way.

    Raises:
        NotAcceptable. InvalidRequest: it is not one text that is generated. And what
            :meth:`Service.stream` does.
    """
    acceptable(exchange, EVENTS)
    adapter, _ = await service.model()
    single = not asked.many and getattr(asked.parameters, "num_return_sequences", 2) == 1
    if not isinstance(adapter, Streams) or not single:
        raise InvalidRequest(
            "stream: only one text that is generated can be streamed",
            hint='leave out "stream", or send one prompt and ask for one sequence',
        )
    parameters = replace(asked.parameters, details=True)  # each token comes with its logprob
    stream = await service.stream(asked.inputs[0], parameters, exchange)
    return EventStream(_events(stream, adapter, asked, failure), exchange)


async def _events(
    stream: Stream, adapter: Streams, asked: Asked, failure: Callable[[ModelDeployError], Any]
) -> AsyncIterator[bytes]:
    so_far: list[Any] = []
    try:
        async for piece in stream:
            so_far.append(piece)
            yield event(adapter.streamed(so_far, stream.prompt, asked.parameters))
    except ModelDeployError as error:
        yield event(failure(error))
