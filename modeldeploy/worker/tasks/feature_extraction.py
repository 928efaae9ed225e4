"""Texts to vectors, and the similarity of vectors."""

from __future__ import annotations

import base64
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.embeddings import (
    FeatureExtractionParameters,
    SentencePairs,
    SentenceSimilarityParameters,
)
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import Item, ModelInfo, Source
from modeldeploy.worker.tasks import sentence_modules
from modeldeploy.worker.tasks.scores import check_numbers
from modeldeploy.worker.tasks.text_model import TextModel
from modeldeploy.worker.tasks.tokens import Encoded

Floats = npt.NDArray[np.float32]
Asked = Text | SentencePairs
Parameters = FeatureExtractionParameters | SentenceSimilarityParameters

_NO_POOLING: tuple[str, ...] = ()
_GIVEN = {"cls": ("cls",), "mean": ("mean",), "last": ("lasttoken",), "none": _NO_POOLING}


class Embedder(TextModel[Asked, Parameters]):
    """A transformer and the modules behind it, for both tasks: whichever was deployed, a text gets
    its vector and a pair of sentences their similarity."""

    # Made for other heads, and no part of what is read here.
    unused_weights = ("pooler.",)
    left = False  # a decoder's last token then is where its text ends

    def prepare(self, source: Source) -> None:
        folder = Path(source.snapshot)
        if "add_pooling_layer" in inspect.signature(type(self.model).__init__).parameters:
            self.model.pooler = None  # as it is without that layer, which nobody reads
        super().prepare(source)
        self.modules = sentence_modules.read(folder, self.device)
        sentence_modules.check_modes(self.modules.pooling)
        if self.modules.max_tokens is not None:
            self.tokens.narrow(self.modules.max_tokens)

    def info(self) -> ModelInfo:
        return replace(super().info(), tokenwise=not self.modules.pooling)

    def pre(self, inputs: Asked, parameters: Parameters) -> list[Item]:
        if isinstance(inputs, SentencePairs):
            texts = [inputs.source_sentence, *inputs.sentences]
            return [self._item(text, self._sentence_pooling, parameters) for text in texts]
        assert isinstance(parameters, FeatureExtractionParameters)
        pooling = self._pooling(parameters)
        is_packed = parameters.encoding_format == "base64"
        if not pooling and (parameters.dimensions or parameters.normalize or is_packed):
            raise InvalidRequest(
                "dimensions, normalize and encoding_format are for one vector, and this model "
                "gives one a token",
                hint='ask for one with "pooling": "mean"',
            )
        return [self._item(inputs.text, pooling, parameters)]

    def _pooling(self, parameters: FeatureExtractionParameters) -> tuple[str, ...]:
        if parameters.pooling == "model":
            return self.modules.pooling
        if parameters.pooling == "sentence":
            return self._sentence_pooling
        return _GIVEN[parameters.pooling]

    @property
    def _sentence_pooling(self) -> tuple[str, ...]:
        return self.modules.pooling or ("mean",)

    def _item(self, text: str, pooling: tuple[str, ...], parameters: Parameters) -> Item:
        """One text, its prompt before it."""
        name = parameters.prompt_name or self.modules.default_prompt
        if name is not None and name not in self.modules.prompts:
            known = ", ".join(sorted(self.modules.prompts)) or "none"
            raise InvalidRequest(f"prompt_name: the model has no prompt {name!r}; it has {known}")
        prompt = self.modules.prompts[name] if name is not None else ""
        whole = prompt + text
        encoded = self.tokens.fitted(
            whole.lower() if self.modules.lower_case else whole,
            truncate=parameters.truncate,
            from_left=parameters.truncation_direction == "left",
        )
        skip = 0
        if prompt and not self.modules.include_prompt:
            skip = len(self.tokens.encode(prompt)) - 1  # but for the token that closes a text
        return Item((encoded, skip), len(encoded), pooling)

    def forward(self, items: list[Item]) -> list[Any]:
        rows: list[Encoded] = [item.data[0] for item in items]
        tensors = self.tokens.pad(rows)
        features = self.call(**tensors).last_hidden_state
        pooling = items[0].key
        if not pooling:
            return self.tokens.unpadded(features, [len(row) for row in rows])
        assert isinstance(pooling, tuple)
        mask = tensors["attention_mask"].to(features.device)
        for row, item in enumerate(items):
            mask[row, : item.data[1]] = 0
        vectors = sentence_modules.pool(features, mask, pooling)
        if pooling == self.modules.pooling:
            for layer in self.modules.dense:
                vectors = layer(vectors)
        return list(vectors.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Asked, parameters: Parameters
    ) -> list[float] | list[list[float]] | str:
        for raw in raws:
            check_numbers(raw, "features")
        if isinstance(inputs, SentencePairs):
            source, *others = (_unit(raw) for raw in raws)
            return [float(source @ other) for other in others]
        assert isinstance(parameters, FeatureExtractionParameters)
        found: Floats = raws[0]
        if found.ndim == 2:
            tokens: list[list[float]] = found.tolist()
            return tokens
        own = self.modules.normalize and parameters.pooling in {"model", "sentence"}
        normalize = own if parameters.normalize is None else parameters.normalize
        found = found[: parameters.dimensions]
        found = _unit(found) if normalize else found
        if parameters.encoding_format == "base64":
            return _packed(found)
        vector: list[float] = found.tolist()
        return vector


def _packed(vector: Floats) -> str:
    """Base64 of little-endian float32, as OpenAI's clients ask for by default."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / max(length, 1e-12)
