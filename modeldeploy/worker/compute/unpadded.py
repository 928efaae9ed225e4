"""Texts of different lengths in one call without padding: end to end in rows, each text blind to
its neighbours.

An encoder's batch is laid out anew inside of its ``forward``, so that whatever stands before it
(tokens) and behind it (heads) sees the padded batch that it knows. A block-diagonal mask keeps the
texts of a row apart, and positions start again in each. Whether a model's results stay the same is
for :mod:`modeldeploy.worker.compute.company` to find out.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modeldeploy.worker.compute.graphs import is_long

# Widths of rows that are tried, in longest texts: more of them pack better, and pay more for attention.
_WIDTHS = (1, 1.25, 1.5, 2, 3, 4)
_USUAL = 512  # hidden sizes
NARROW, WIDE = 64, 256  # rows whose times tell what attention costs
_DOUBT = 3  # times what is expected: a measurement that says more or less was disturbed

Rows = list[list[int]]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a padded batch go: ``source`` are their places in the padded batch,
    ``target`` those in the rows (both flat), ``positions`` and ``texts`` (which text, -1: none)
    of shape (rows, width). In NumPy: a call has a dozen of such small steps, and torch lets go of the
    interpreter in each of its own, to wait for it with all others afterwards."""

    source: Places
    target: Places
    positions: Places
    texts: Places


def fill(lengths: Sequence[int], width: int) -> Rows:
    """Which texts go into which row, first fit, the longest first; a text longer than ``width`` makes
    all rows that long."""
    width = max(width, *lengths)
    rows: Rows = []
    free: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        row = next((at for at, left in enumerate(free) if left >= lengths[text]), None)
        if row is None:
            row = len(free)
            rows.append([])
            free.append(width)
        rows[row].append(text)
        free[row] -= lengths[text]
    return rows


def cheapest(lengths: Sequence[int], attention: float) -> Rows:
    """The rows that cost least, where attention costs a token ``attention`` times the width of its
    row, in what the rest costs it."""
    total, longest = sum(lengths), max(lengths)

    def cost(rows: Rows) -> float:
        used = _used(rows, lengths)
        return len(rows) * used * (1 + attention * used)

    widths = {min(total, int(longest * times)) for times in _WIDTHS} | {total}
    return min((fill(lengths, width) for width in sorted(widths)), key=cost)


def _used(rows: Rows, lengths: Sequence[int]) -> int:
    return max(sum(lengths[text] for text in row) for row in rows)


def lay(mask: torch.Tensor, lengths: Sequence[int], rows: Rows) -> Layout:
    """The layout of a batch with that attention mask, whose texts are so long."""
    used = _used(rows, lengths)
    shape = (len(rows), used)
    positions, texts = np.zeros(shape, dtype=np.int64), np.full(shape, -1)
    for at, row in enumerate(rows):
        start = 0
        for text in row:
            end = start + lengths[text]
            positions[at, start:end], texts[at, start:end] = np.arange(lengths[text]), text
            start = end
    by_text = np.argsort(texts, axis=None, kind="stable")  # places without one, -1, come first
    target = by_text[texts.size - sum(lengths) :]
    return Layout(np.flatnonzero(mask.numpy()), target, positions, texts)


class Unpadded:
    """Stands for ``forward`` of an encoder. ``offset`` is its first position, ``causal`` says that
    a token sees those before it only.

    ``forward`` is what computes the rows; with ``always`` it is given texts that need no padding
    in the same form, as one that knows no other (a graph) must be, but for a lone text that is too
    long for a graph. ``attention`` is what
    :func:`cheapest` says: until it is measured, by the multiplications of a layer, which are 12 times
    the hidden size's square for a token, and twice the hidden size for a token and each of its row.
    """

    def __init__(self, encoder: Any, offset: int, *, causal: bool) -> None:
        self._encoder = encoder
        self.forward: Callable[..., Any] = encoder.forward
        self.always = False
        self.causal = causal
        self._accepted = frozenset(inspect.signature(self.forward).parameters)
        self._offset = offset
        self._expected = 1 / (6 * getattr(encoder.config, "hidden_size", _USUAL))
        self.attention = self._expected
        self._width: int | None = None

    @contextlib.contextmanager
    def rows_of(self, width: int) -> Iterator[None]:
        """For now, rows of so many tokens."""
        self._width = width
        try:
            yield
        finally:
            self._width = None

    def weigh(self, narrow: float, wide: float) -> None:
        """Take attention's cost from the seconds of the same texts in rows of NARROW and of WIDE."""
        more = wide / narrow
        found = (more - 1) / (WIDE - NARROW * more) if more < WIDE / NARROW else math.inf
        most, least = self._expected * _DOUBT, self._expected / _DOUBT
        self.attention = min(most, max(least, found))

    def __call__(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **more: Any,
    ) -> Any:
        if input_ids is None or attention_mask is None or not self._is_ours(attention_mask, more):
            return self.forward(input_ids=input_ids, attention_mask=attention_mask, **more)
        found = self._together(input_ids, attention_mask, more)
        if len(input_ids) > 1 and not _is_finite(found.last_hidden_state):
            self._redo_alone(found, input_ids, attention_mask, more)
        return found

    def _redo_alone(
        self, found: Any, input_ids: torch.Tensor, mask: torch.Tensor, more: dict[str, Any]
    ) -> None:
        """Put into ``found`` what each text gets in a call of its own. In a row what is masked counts
        nothing times, which is not nothing if it is not finite: one text would spoil the others."""
        hidden = found.last_hidden_state
        for text, own in enumerate(mask.bool()):
            one = {
                name: value[text, own][None] if isinstance(value, torch.Tensor) else value
                for name, value in {"input_ids": input_ids, "attention_mask": mask, **more}.items()
            }
            hidden[text, own] = self(**one).last_hidden_state[0]
        self._pool(found)

    def _together(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, more: dict[str, Any]
    ) -> Any:
        lengths = attention_mask.numpy().sum(axis=1).tolist()
        rows = fill(lengths, self._width) if self._width else cheapest(lengths, self.attention)
        layout = lay(attention_mask, lengths, rows)
        tensors = {
            name: _moved(value, layout)
            for name, value in {"input_ids": input_ids, **more}.items()
            if isinstance(value, torch.Tensor)
        }
        if "position_ids" in self._accepted:
            tensors["position_ids"] = torch.from_numpy(layout.positions + self._offset)
        plain = {name: value for name, value in more.items() if name not in tensors}
        found = self.forward(attention_mask=self._mask(layout), **{**plain, **tensors})
        laid = found.last_hidden_state
        hidden = laid.new_zeros(*input_ids.shape, width := laid.shape[-1])
        tokens = laid.reshape(-1, width).index_select(0, torch.from_numpy(layout.target))
        hidden.view(-1, width).index_copy_(0, torch.from_numpy(layout.source), tokens)
        found.last_hidden_state = hidden
        self._pool(found)
        return found

    def _pool(self, found: Any) -> None:
        """What was pooled was made of the rows: make it of the texts."""
        if getattr(found, "pooler_output", None) is not None:
            found.pooler_output = _pooled(self._encoder, found.last_hidden_state)

    def _is_ours(self, mask: torch.Tensor, more: dict[str, Any]) -> bool:
        """Whether it is a plain batch, of texts of different lengths."""
        others = (value for value in more.values() if isinstance(value, torch.Tensor))
        if mask.dim() != 2 or any(value.shape != mask.shape for value in others):
            return False
        if len(mask) == 1:
            return self.always and not is_long(self._encoder.config, *mask.shape)
        return self.always or not bool(mask.all())

    def _mask(self, layout: Layout) -> torch.Tensor:
        """What is added to the attention's logits, of shape (rows, 1, width, width)."""
        texts = layout.texts[:, None]
        apart = texts[..., :, None] != texts[..., None, :]
        if self.causal:
            apart |= np.triu(np.ones(apart.shape[-2:], dtype=bool), 1)
        mask = torch.zeros(apart.shape, dtype=self._encoder.dtype)
        return mask.masked_fill_(torch.from_numpy(apart), torch.finfo(mask.dtype).min)


def _pooled(encoder: Any, hidden: torch.Tensor) -> torch.Tensor:
    """What the encoder makes of texts' tokens. ALBERT's and BigBird's pooler is a bare layer: that it
    reads the first token, and what comes behind it, is in their ``forward``."""
    pooler: Callable[..., torch.Tensor] = encoder.pooler
    if not isinstance(pooler, torch.nn.Linear):
        return pooler(hidden)
    activation: Callable[..., torch.Tensor]
    activation = getattr(encoder, "pooler_activation", None) or encoder.activation
    return activation(pooler(hidden[:, 0]))


def _is_finite(hidden: torch.Tensor) -> bool:
    """Whether all of it is numbers; the sum in float16 would soon be none."""
    return math.isfinite(hidden.sum(dtype=torch.float32).item())


def _moved(padded: torch.Tensor, layout: Layout) -> torch.Tensor:
    given = padded.numpy()
    rows = np.zeros(layout.texts.shape, dtype=given.dtype)
    rows.flat[layout.target] = given.flat[layout.source]
    return torch.from_numpy(rows)


def restore_padding(encoder: Any) -> None:
    """Undo what laid its batches out anew."""
    if isinstance(vars(encoder).get("forward"), Unpadded):
        del encoder.forward
