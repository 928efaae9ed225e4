"""``/v1/embeddings``."""

from __future__ import annotations

from starlette.responses import Response

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.embeddings import FeatureExtractionParameters
from modeldeploy.schema.tasks.text import Text
from modeldeploy.web.answers import json_answer
from modeldeploy.worker.dialects.openai_common import Handler, in_terms_of
from modeldeploy.worker.dialects.openai_types import Embedding, EmbeddingRequest, Embeddings
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.weight import weight


class Vectors(Handler):
    path = "/v1/embeddings"
    ability = "embeddings"

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, EmbeddingRequest)
        texts = [request.input] if isinstance(request.input, str) else request.input
        most = self.service.limits.max_texts
        if len(texts) > most:
            raise InvalidRequest(f"input: it holds {len(texts)}, the limit is {most}")
        parameters = FeatureExtractionParameters(
            pooling="sentence",
            normalize=True,
            dimensions=request.dimensions,
            encoding_format=request.encoding_format or "float",
        )
        inputs = [Text(text) for text in texts]
        with in_terms_of("input"):
            vectors = await self.service.predict(inputs, parameters, exchange)
        tokens = exchange.tokens
        return await self.service.aside(weight(*vectors), self._answer, vectors, tokens)

    def _answer(self, vectors: list[list[float] | str], tokens: int) -> Response:
        data = [Embedding(index=at, embedding=one) for at, one in enumerate(vectors)]
        used = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_answer(Embeddings(data=data, model=self.model, usage=used))
