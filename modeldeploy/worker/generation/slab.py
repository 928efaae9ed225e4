"""The keys and values of all rows in one place, so that rows join and leave between two steps.

Each attention layer has one tensor (rows, heads, columns, width). Rows are right-aligned: all write
their next token at the cursor, and a mask hides the columns before a row's own first one. A prompt
is read in a cache of its own and copied in. Layers that keep a recurrent state instead of columns
are joined and reordered as ordinary batches.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import torch
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionLayer,
)

_ROWS = 4
_COLUMNS = 256
FIRST_ROOM = (_ROWS, _COLUMNS)
_STATES = ("conv_states", "recurrent_states")


class Running(Protocol):
    """Rows that are written together, numbered from 0; one that leaves is replaced by the last.
    Prompts are read into caches of their own, those of transformers."""

    count: int

    def empty(self) -> Any:
        """A cache for one prompt."""

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        """Read the next tokens of a prompt, of which ``done`` are in ``cache``; the logits behind
        the last, shape (vocabulary)."""

    def join(self, cache: Any, length: int) -> None:
        """A new last row, of a prompt of ``length`` tokens that was read into ``cache``."""

    def row(self, at: int) -> tuple[Any, int]:
        """A row as a prompt that was read, and how many tokens it has."""

    def leave(self, row: int) -> None:
        """Free a row."""

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Write one token of each row; the logits behind them, shape (rows, vocabulary)."""


class Unfit(Exception):
    """This model's cache is of a kind that the slab does not know."""


class _Columns(CacheLayerMixin):  # type: ignore[misc]  # transformers is not followed by mypy
    """One attention layer's keys and values, in the slab's rows and columns."""

    is_sliding = False

    def __init__(self, slab: Slab) -> None:
        super().__init__()
        self._slab = slab

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Zeros, because what a mask hides must still be numbers."""
        rows, columns = self._slab.room
        for name, like in (("keys", key_states), ("values", value_states)):
            setattr(self, name, like.new_zeros(rows, like.shape[1], columns, like.shape[3]))
        self.is_initialized = True

    def grown(self, rows: int, columns: int) -> list[torch.Tensor]:
        """Keys and values in tensors of that size."""
        found = []
        for old in (self.keys, self.values):
            new = old.new_zeros(rows, old.shape[1], columns, old.shape[3])
            new[: old.shape[0], :, : old.shape[2]] = old
            found.append(new)
        return found

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Write one column of all rows at the cursor; all columns from the oldest row's on."""
        slab = self._slab
        rows, at, first = slab.count, slab.cursor, slab.first
        self.keys[:rows, :, at : at + 1] = key_states
        self.values[:rows, :, at : at + 1] = value_states
        return self.keys[:rows, :, first : at + 1], self.values[:rows, :, first : at + 1]

    def get_seq_length(self) -> int:
        return self._slab.cursor - self._slab.first

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def put(self, row: int, start: int, keys: Any, values: Any) -> None:
        self.keys[row, :, start : start + keys.shape[1]] = keys
        self.values[row, :, start : start + values.shape[1]] = values

    def move_row(self, source: int, target: int, columns: slice) -> None:
        for tensor in (self.keys, self.values):
            tensor[target, :, columns] = tensor[source, :, columns]

    def shift(self, rows: int, columns: slice, by: int) -> None:
        moved = slice(columns.start + by, columns.stop + by)
        for tensor in (self.keys, self.values):
            tensor[:rows, :, moved] = tensor[:rows, :, columns].clone()


class Slab:
    """``count`` rows of one model, numbered from 0; a row that leaves is replaced by the last.

    ``cursor`` is the column that the next step writes, ``first`` the oldest row's first column.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.count = 0
        self.cursor = 0
        self.first = 0
        self.room = FIRST_ROOM
        self._positions = takes(model, "position_ids")
        self._short = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
        self._masked = not takes(model, "cache_params")  # Mamba's have no columns to hide
        self._cache_name = "past_key_values" if self._masked else "cache_params"
        self._starts = torch.zeros(_ROWS, dtype=torch.long, device=model.device)
        self._cache = Cache(layers=[self._own(layer) for layer in self.empty().layers])

    def empty(self) -> Any:
        """A cache for one prompt."""
        return empty_cache(self._model.config)

    def place_bytes(self) -> int:
        """What the keys and values of one token take."""
        cache = self.empty()
        self.read(cache, [1], 0)
        kept = [layer for layer in cache.layers if type(layer) is DynamicLayer]
        found: int = sum(layer.keys.nbytes + layer.values.nbytes for layer in kept)
        return max(1, found)

    def _own(self, layer: Any) -> Any:
        if type(layer) is DynamicLayer:
            return _Columns(self)
        if type(layer) is LinearAttentionLayer:
            return layer
        raise Unfit(type(layer).__name__)

    # Prompts

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        """Read the next tokens of a prompt, of which ``done`` are in ``cache``; the logits behind
        the last, shape (vocabulary)."""
        tokens = torch.tensor([ids], device=self._model.device)
        positions = torch.arange(done, done + len(ids), device=self._model.device)[None]
        return self._forward(tokens, cache, None, positions)[0]

    def join(self, cache: Any, length: int) -> None:
        """A new last row, of a prompt of ``length`` tokens that was read into ``cache``."""
        if self.count == 0:
            self._begin_anew()
        elif self.cursor >= self.room[1]:
            self._tidy()
        self._make_room(self.count + 1, max(length, self.cursor) + 1)
        if length > self.cursor:
            self._move_cursor(length)
        start = self.cursor - length
        for mine, other in zip(self._cache.layers, cache.layers, strict=True):
            if not isinstance(mine, _Columns):
                _append_state(mine, other, first=self.count == 0)
                continue
            if not mine.is_initialized:
                mine.lazy_initialization(other.keys, other.values)
            mine.put(self.count, start, other.keys[0], other.values[0])
        self._starts[self.count] = start
        self.count += 1

    def leave(self, row: int) -> None:
        """Free a row; the last one takes its number."""
        last = self.count - 1
        for layer in self._cache.layers:
            if isinstance(layer, _Columns):
                if row != last:
                    layer.move_row(last, row, slice(int(self._starts[last]), self.cursor))
            elif last:
                keep = [*range(row), last, *range(row + 1, last)] if row != last else range(last)
                layer.reorder_cache(torch.tensor(list(keep), device=self._model.device))
        self._starts[row] = self._starts[last]
        self.count = last

    def row(self, at: int) -> tuple[Any, int]:
        """A row's keys and values as a prompt's that was read, and how many tokens they are of: for
        models that keep nothing else."""
        start = int(self._starts[at])
        cache = self.empty()
        for mine, other in zip(self._cache.layers, cache.layers, strict=True):
            fill(
                other,
                *(one[at : at + 1, :, start : self.cursor] for one in (mine.keys, mine.values)),
            )
        return cache, self.cursor - start

    # Steps

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Write one token of each row; the logits behind them, shape (rows, vocabulary)."""
        if self.cursor >= self.room[1]:
            self._tidy()
        starts = self._starts[: self.count]
        self.first = int(starts.min())
        mask = None
        if self._masked and self.count > 1:
            columns = torch.arange(self.first, self.cursor + 1, device=starts.device)
            mask = (columns >= starts[:, None]).long()
        ids = torch.tensor(tokens, device=starts.device)[:, None]
        logits = self._forward(ids, self._cache, mask, (self.cursor - starts)[:, None])
        self.cursor += 1
        return logits

    def _forward(self, ids: Any, cache: Any, mask: Any, positions: Any) -> torch.Tensor:
        more = {"position_ids": positions} if self._positions else {}
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            use_cache=True,
            **{self._cache_name: cache},
            **more,
            **self._short,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    # Room

    def _tidy(self) -> None:
        """At the right edge: move to the left if that frees much, else grow."""
        first = int(self._starts[: self.count].min())
        if first >= self.room[1] // 4:
            self._move_cursor(self.cursor - first)
        else:
            self._make_room(self.count, self.cursor + 1)

    def _make_room(self, rows: int, columns: int) -> None:
        room = enlarged(self.room, rows, columns)
        if room == self.room:
            return
        mine = [one for one in self._cache.layers if isinstance(one, _Columns)]
        grown = [one.grown(*room) for one in mine if one.is_initialized]
        # Nothing changes before there is room for all: what runs out of memory leaves us whole.
        for layer, (keys, values) in zip(mine, grown, strict=False):
            layer.keys, layer.values = keys, values
        self.room = room
        starts = self._starts.new_zeros(room[0])
        starts[: len(self._starts)] = self._starts
        self._starts = starts

    def _begin_anew(self) -> None:
        """Nobody is here: give back what a long prompt or many rows made it grow to."""
        self.cursor = 0
        if self.room != FIRST_ROOM:
            self.room = FIRST_ROOM
            self._starts = self._starts[:_ROWS].clone()
            for layer in self._cache.layers:
                if isinstance(layer, _Columns):
                    layer.is_initialized = False
                    layer.keys = layer.values = None

    def _move_cursor(self, to: int) -> None:
        """Shift every row's columns so that the cursor is at ``to``."""
        if self.count:
            by = to - self.cursor
            columns = slice(int(self._starts[: self.count].min()), self.cursor)
            for layer in self._cache.layers:
                if isinstance(layer, _Columns):
                    layer.shift(self.count, columns, by)
            self._starts[: self.count] += by
        self.cursor = to


def takes(model: Any, name: str) -> bool:
    """Whether a model's ``forward`` has an argument of that name."""
    return name in inspect.signature(model.forward).parameters


def empty_cache(config: Any) -> Any:
    """A cache for one prompt. Sliding layers are kept whole: masks cut them."""
    cache = DynamicCache(config=config)
    cache.layers = [
        DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer
        for layer in cache.layers
    ]
    return cache


def fill(layer: Any, keys: torch.Tensor, values: torch.Tensor) -> None:
    """Have a layer of an empty cache hold these."""
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values


def enlarged(room: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    """Room for so many: by an eighth more at a time, so that it seldom grows and yet stays near what
    those who write were counted to take."""
    least = FIRST_ROOM
    return _enough(room[0], rows, least[0]), _enough(room[1], columns, least[1])


def _enough(have: int, need: int, least: int) -> int:
    if need <= have:
        return have
    step = max(least, have // 8)
    return -(-need // step) * step


def _append_state(mine: Any, other: Any, *, first: bool) -> None:
    """One more row of a recurrent layer's states."""
    for name in _STATES:
        have, new = getattr(mine, name), getattr(other, name)
        for index, state in new.items():
            if state is not None:
                have[index] = state if first else torch.cat([have[index], state])
    for name, value in vars(other).items():
        if name not in _STATES:
            setattr(mine, name, value)
