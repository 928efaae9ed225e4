"""``/v1/embeddings``."""

from __future__ import annotations

import base64

import numpy as np
from starlette.responses import Response

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.embeddings import FeatureExtractionParameters
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.answers import json_answer
from modeldeploy.worker.dialects.openai_common import Handler, in_terms_of
from modeldeploy.worker.dialects.openai_types import Embedding, EmbeddingRequest, Embeddings
from modeldeploy.worker.exchange import Exchange


class Vectors(Handler):
    path = "/v1/embeddings"
    tasks = frozenset({"feature-extraction", "sentence-similarity"})

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, EmbeddingRequest)
        texts = [request.input] if isinstance(request.input, str) else request.input
        most = self.service.limits.max_texts
        if len(texts) > most:
            raise InvalidRequest(f"input: it holds {len(texts)}, the limit is {most}")
        parameters = FeatureExtractionParameters(
            pooling="sentence", normalize=True, dimensions=request.dimensions
        )
        inputs = [Text(text) for text in texts]
        with in_terms_of("input"):
            vectors = await self.service.predict(inputs, parameters, exchange)
        tokens = exchange.tokens
        return await self.service.aside(
            len(texts) * 100, self._answer, vectors, request.encoding_format, tokens
        )

    def _answer(self, vectors: list[list[float]], form: str, tokens: int) -> Response:
        data = [
            Embedding(index=at, embedding=_packed(one) if form == "base64" else one)
            for at, one in enumerate(vectors)
        ]
        used = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_answer(Embeddings(data=data, model=self.model, usage=used))


def _packed(vector: list[float]) -> str:
    """Base64 of little-endian float32, as OpenAI's clients ask for by default."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
