"""Texts to token ids and to padded tensors, from any thread.

Encoding goes straight to the Rust tokenizer and never truncates or pads there: both are state of
the tokenizer that calls from several threads would change under each other.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.effort import spend
from modeldeploy.worker.failures import panics_as_errors

_MOST_CHARACTERS = 2_000_000
_LONG = 10_000  # characters: what the GIL is given up for
_NO_LIMIT = 10**9  # tokenizers without a limit say 10^30
_CHARACTERS_PER_TOKEN = 100
_LEAST_CHARACTERS = 100_000
# Their position ids begin after the padding id.
_OFFSET_POSITIONS = frozenset(
    {
        "roberta",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "longformer",
        "data2vec-text",
        "mpnet",
        "layoutlmv3",
    }
    | {"roberta-prelayernorm", "xmod", "esm", "luke", "ibert"}
)


# Whichever a config has, the usual one first.
_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_len",
)


@dataclass
class Encoded:
    """One text, or a pair, with special tokens. ``sequence`` says for each token which text it
    is of (None: special), ``offsets`` where in it, ``words`` the index of its word there."""

    ids: list[int]
    types: list[int]
    special: list[int]
    sequence: list[int | None]
    offsets: list[tuple[int, int]]
    words: list[int | None]

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, places: list[int]) -> Encoded:
        """Those tokens alone, in that order."""
        return Encoded(
            [self.ids[at] for at in places],
            [self.types[at] for at in places],
            [self.special[at] for at in places],
            [self.sequence[at] for at in places],
            [self.offsets[at] for at in places],
            [self.words[at] for at in places],
        )


def plain(ids: list[int]) -> Encoded:
    """A text of those tokens, of which no more is known."""
    size = len(ids)
    return Encoded(ids, [0] * size, [0] * size, [0] * size, [(0, 0)] * size, [None] * size)


def first_position(config: Any) -> int:
    """The position id of a text's first token."""
    text = config.get_text_config()
    return (text.pad_token_id or 0) + 1 if text.model_type in _OFFSET_POSITIONS else 0


def positions_of(text: Any) -> int | None:
    """Places that a model's config says it has for tokens; None: no limit."""
    if hasattr(text, "relative_attention_num_buckets") and hasattr(text, "n_positions"):
        return None  # T5's n_positions is the length it was trained with
    found = (getattr(text, name, None) for name in _POSITIONS)
    return next((one for one in found if isinstance(one, int) and one > 0), None)


def window_of(config: Any, tokenizer: Any) -> int | None:
    """Tokens that the model takes at most, by its positions and by its tokenizer."""
    text = config.get_text_config()
    positions = positions_of(text)
    if positions is not None:
        positions -= first_position(config)
    limits = [
        limit
        for limit in (positions, tokenizer.model_max_length)
        if isinstance(limit, int) and 0 < limit < _NO_LIMIT
    ]
    return min(limits, default=None)


class Tokens:
    """A tokenizer, and the window of its model (tokens; None: no limit known)."""

    def __init__(self, tokenizer: Any, config: Any, *, left: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self.window = window_of(config, tokenizer)
        self._wants_types = "token_type_ids" in tokenizer.model_input_names
        self._left = tokenizer.padding_side == "left" if left is None else left
        self._slow = threading.Lock()
        self._rust = getattr(tokenizer, "backend_tokenizer", None)
        if self._rust is not None:
            self._rust.no_truncation()
            self._rust.no_padding()
        self.pad_id = self._pad_id()

    def _pad_id(self) -> int | None:
        for token_id in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token_id is not None:
                return int(token_id)
        return None

    @property
    def pads_left(self) -> bool:
        return self._left

    def narrow(self, window: int) -> None:
        """Take no more than ``window`` tokens, even if the model would."""
        self.window = window if self.window is None else min(self.window, window)

    @property
    def most_characters(self) -> int:
        """Of a text that could have its place in the window."""
        if self.window is None:
            return _MOST_CHARACTERS
        wide = self.window * _CHARACTERS_PER_TOKEN
        return min(_MOST_CHARACTERS, max(_LEAST_CHARACTERS, wide))

    def check_length(self, text: str) -> None:
        """
        Raises:
            InputTooLong: it could not have its place in the window.
        """
        if len(text) > self.most_characters:
            raise _very_long(len(text), self.most_characters)

    @property
    def has_offsets(self) -> bool:
        """Whether tokens know where in the text they are."""
        return self._rust is not None

    def encode(self, text: str, pair: str | None = None) -> Encoded:
        """All tokens of a text, whatever the window.

        Raises:
            InputTooLong: so many that no window would hold them, or that the request has too many.
        """
        return self._encode(text, pair, special=True)

    def encode_bare(self, text: str) -> Encoded:
        """The same without the special tokens that the tokenizer would add around it."""
        return self._encode(text, None, special=False)

    def _encode(self, text: str, pair: str | None, *, special: bool) -> Encoded:
        length = len(text) + len(pair or "")
        if length > _MOST_CHARACTERS:
            raise _very_long(length, _MOST_CHARACTERS)
        if self._rust is None:
            encoded = self._encode_slowly(text, pair, special=special)
            spend(len(encoded), "tokens")
            return encoded
        with panics_as_errors():
            if length < _LONG:
                raw = self._rust.encode(text, pair, add_special_tokens=special)
            else:  # others may go on meanwhile: ``encode`` keeps the GIL
                one = text if pair is None else (text, pair)
                (raw,) = self._rust.encode_batch([one], add_special_tokens=special)
        spend(len(raw), "tokens")
        return Encoded(
            raw.ids,
            raw.type_ids,
            raw.special_tokens_mask,
            raw.sequence_ids,
            raw.offsets,
            raw.word_ids,
        )

    def _encode_slowly(self, text: str, pair: str | None, *, special: bool) -> Encoded:
        with self._slow, panics_as_errors():
            raw = self.tokenizer(
                text, pair, return_special_tokens_mask=True, add_special_tokens=special
            )
        ids = list(raw["input_ids"])
        nothing = [None] * len(ids)
        types = list(raw.get("token_type_ids") or [0] * len(ids))
        mask = list(raw["special_tokens_mask"])
        return Encoded(ids, types, mask, [*nothing], [(0, 0)] * len(ids), [*nothing])

    def fitted(self, text: str, *, truncate: bool, from_left: bool = False) -> Encoded:
        """The tokens of one text, cut to the window where ``truncate`` says so: its end, or its
        beginning where ``from_left`` does.

        Raises:
            InputTooLong: there are more, and they may not be cut. InvalidRequest: there are none.
        """
        if self.window is None:
            return _some(self.encode(text))
        if len(text) > self.most_characters:
            if not truncate:
                raise _too_long(f"{len(text)} characters", self.window)
            most = self.most_characters
            text = text[-most:] if from_left else text[:most]
        encoded = _some(self.encode(text))
        if len(encoded) > self.window:
            if not truncate:
                raise _too_long(f"{len(encoded)} tokens", self.window)
            return _cut(encoded, self.window, from_left=from_left)
        return encoded

    def fitted_pair(self, first: str, second: str, *, truncate: bool, cut: int = 1) -> Encoded:
        """The tokens of two texts; where ``truncate`` says so, the end of the first (``cut`` 0) or
        of the second (1) is left out as far as is needed.

        Raises:
            InputTooLong: there are more than the window takes, and they may not be cut.
        """
        encoded = self.encode(first, second)
        over = len(encoded) - self.window if self.window is not None else 0
        if over <= 0:
            return encoded
        its = [at for at, which in enumerate(encoded.sequence) if which == cut]
        if not truncate or over >= len(its):
            raise _too_long(f"{len(encoded)} tokens with what it is read with", self.window or 0)
        gone = set(its[-over:])
        return encoded.pick([at for at in range(len(encoded)) if at not in gone])

    def pad(self, rows: list[Encoded]) -> dict[str, torch.Tensor]:
        """Tensors of shape (rows, longest row)."""
        tensors = {
            "input_ids": self._matrix([row.ids for row in rows], self.pad_id or 0),
            "attention_mask": self._matrix([[1] * len(row) for row in rows], 0),
        }
        if self._wants_types:
            tensors["token_type_ids"] = self._matrix([row.types for row in rows], 0)
        return tensors

    def unpadded(self, matrix: torch.Tensor, lengths: list[int]) -> list[npt.NDArray[np.float32]]:
        """The rows of a padded (rows, longest row) tensor at their own lengths."""
        rows = matrix.float().cpu().numpy()
        if self._left:
            return [row[len(row) - length :] for row, length in zip(rows, lengths, strict=True)]
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]

    def _matrix(self, rows: list[list[int]], filling: int) -> torch.Tensor:
        return matrix(rows, filling, left=self._left)


def matrix(rows: list[list[int]], filling: int, *, left: bool) -> torch.Tensor:
    """Rows of different lengths as one int64 tensor, filled up on one side."""
    width = max(map(len, rows))
    filled = np.full((len(rows), width), filling, dtype=np.int64)
    for place, row in zip(filled, rows, strict=True):
        start = width - len(row) if left else 0
        place[start : start + len(row)] = row
    return torch.from_numpy(filled)


def _cut(encoded: Encoded, window: int, *, from_left: bool) -> Encoded:
    """Cut at one end of the text, keeping the special tokens around it."""
    opening = next((at for at, one in enumerate(encoded.special) if not one), len(encoded))
    closing = next((at for at, one in enumerate(reversed(encoded.special)) if not one), 0)
    room = max(0, window - opening - closing)
    end = len(encoded) - closing
    start = max(opening, end - room) if from_left else opening
    kept = [*range(opening), *range(start, min(start + room, end)), *range(end, len(encoded))]
    return encoded.pick(kept)


def _some(encoded: Encoded) -> Encoded:
    if not len(encoded):
        raise InvalidRequest("text: there is nothing in it to read")
    return encoded


def _very_long(length: int, most: int) -> InputTooLong:
    return InputTooLong(f"the text has {length} characters, the limit is {most}", hint="shorten it")


def _too_long(length: str, window: int) -> InputTooLong:
    return InputTooLong(
        f"the text has {length}, the model's window is {window} tokens",
        hint='shorten it, or send "truncate": true to have its end cut off',
    )
