"""What ``config.json`` says, as far as the fetcher needs it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from modeldeploy.errors import UnsupportedModel
from modeldeploy.hub.untrusted import decode

ECHO = "echo"
_MOST_NAMES, _LONGEST_NAME = 64, 200


class ModelConfig(Struct, frozen=True):
    """``is_cross_encoder`` where sentence-transformers saved a model that scores pairs."""

    model_type: str | None
    architectures: list[str]

    is_cross_encoder: bool = False

    @property
    def needs_weights(self) -> bool:
        """False for the model that our own tests are made with."""
        return self.model_type != ECHO


# What a GGUF file is taken for where nobody says otherwise: transformers reads almost nothing else.
GGUF = ModelConfig(model_type=None, architectures=["LlamaForCausalLM"])


def read(content: bytes) -> ModelConfig:
    """Raises UnsupportedModel where it is not a JSON object, or has names that cannot be any."""
    try:
        fields = decode(content, dict[str, Any])
    except msgspec.DecodeError as error:
        raise UnsupportedModel(
            f"its config.json cannot be read: {error}",
            hint="the upload is damaged: try another revision, or ask its author",
        ) from error
    model_type = fields.get("model_type")
    architectures = fields.get("architectures")
    listed = architectures if isinstance(architectures, list) else []
    names = [name for name in listed if isinstance(name, str)]
    kind = model_type if isinstance(model_type, str) else None
    if len(names) > _MOST_NAMES or any(len(name) > _LONGEST_NAME for name in (*names, kind or "")):
        raise UnsupportedModel(
            "its config.json has a model_type or architectures that cannot be names",
            hint="the upload is damaged: try another revision, or ask its author",
        )
    return ModelConfig(
        model_type=kind,
        architectures=names,
        is_cross_encoder=isinstance(fields.get("sentence_transformers"), dict),
    )
