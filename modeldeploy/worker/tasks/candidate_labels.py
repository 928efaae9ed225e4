"""Labels in words, for the zero-shot tasks: to tokens, each within the model's window."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modeldeploy.errors import InputTooLong
from modeldeploy.worker.tasks.tokens import Encoded, Tokens, matrix


def encode_labels(tokens: Tokens, texts: Sequence[str], *, truncate: bool = False) -> list[Encoded]:
    """The tokens of each text.

    Raises:
        InputTooLong: one does not fit and may not be cut; the message names it.
    """
    encoded = []
    for at, text in enumerate(texts):
        try:
            encoded.append(tokens.fitted(text, truncate=truncate))
        except InputTooLong as error:
            raise InputTooLong(
                f"candidate_labels[{at}]: {error.message}", hint="use fewer words"
            ) from error
    return encoded


def text_tensors(
    tokens: Tokens, texts: Sequence[Encoded], length: int | None = None
) -> dict[str, torch.Tensor]:
    """The tensors that the tokenizer itself would make, padded to ``length`` tokens or else to the
    longest text."""
    if length is None:
        tensors = tokens.pad(list(texts))
    else:
        filled = [text.ids + [tokens.pad_id or 0] * (length - len(text)) for text in texts]
        seen = [[1] * len(text) + [0] * (length - len(text)) for text in texts]
        tensors = {
            "input_ids": matrix(filled, 0, left=False),
            "attention_mask": matrix(seen, 0, left=False),
        }
    names = tokens.tokenizer.model_input_names
    return {name: tensor for name, tensor in tensors.items() if name in names}
