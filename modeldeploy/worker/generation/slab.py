"""The keys and values of all rows in one place, so that rows join and leave between two steps.

Each attention layer has one tensor (rows, heads, columns, width). Rows are right-aligned: all write
their next token at the cursor, and a mask hides the columns before a row's own first one. Columns are
numbered from where the first row began; a layer holds those from its ``begin`` on, and when they are
used up, or a longer prompt comes, what is needed of them is copied to new tensors. A prompt
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

from modeldeploy.worker.generation import room
from modeldeploy.worker.generation.room import BOUNDLESS, Room

_STATES = ("conv_states", "recurrent_states")


class Running(Protocol):
    """Rows that are written together, numbered from 0; one that leaves is replaced by the last.
    Prompts are read into caches of their own, those of transformers."""

    count: int

    @property
    def held(self) -> int:
        """Places that there is room for now."""

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

    def keep_within(self, places: int) -> None:
        """Hold no more than so many places from now on; those who join must not need more."""

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Write one token of each row; the logits behind them, shape (rows, vocabulary)."""


class Unfit(Exception):
    """This model's cache is of a kind that the slab does not know."""


class _Columns(CacheLayerMixin):  # type: ignore[misc]  # transformers is not followed by mypy
    """One attention layer's keys and values, in the slab's rows and columns."""

    is_sliding = False
    keys: Any
    values: Any

    def __init__(self, slab: Slab) -> None:
        super().__init__()
        self._slab = slab
        self.begin = 0

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Zeros, because what a mask hides must still be numbers."""
        rows, columns = self._slab.room
        for name, like in (("keys", key_states), ("values", value_states)):
            setattr(self, name, like.new_zeros(rows, like.shape[1], columns, like.shape[3]))
        self.begin = self._slab.begin
        self.is_initialized = True

    def move(self, to: Room, begin: int, rows: int, used: slice) -> None:
        """Have tensors of that size from the column ``begin`` on, with what is used."""
        moved = []
        for old in (self.keys, self.values):
            new = old.new_zeros(to[0], old.shape[1], to[1], old.shape[3])
            new[:rows, :, _from(begin, used)] = old[:rows, :, _from(self.begin, used)]
            moved.append(new)
        self.keys, self.values = moved
        self.begin = begin

    def forget(self) -> None:
        self.keys = self.values = None
        self.is_initialized = False

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Write one column of all rows at the cursor; all columns from the oldest row's on."""
        slab = self._slab
        rows, at, first = slab.count, slab.cursor - self.begin, slab.first - self.begin
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
        columns = _from(self.begin, slice(start, start + keys.shape[1]))
        self.keys[row, :, columns] = keys
        self.values[row, :, columns] = values

    def move_row(self, source: int, target: int, columns: slice) -> None:
        own = _from(self.begin, columns)
        for tensor in (self.keys, self.values):
            tensor[target, :, own] = tensor[source, :, own]

    def clear(self, row: int, end: int) -> None:
        """What another left before the column ``end``, which may be no numbers: a mask hides only numbers."""
        for tensor in (self.keys, self.values):
            tensor[row, :, : end - self.begin] = 0

    def taken(self, row: int, columns: slice) -> list[torch.Tensor]:
        """Views of one row's keys and values."""
        own = _from(self.begin, columns)
        return [one[row : row + 1, :, own] for one in (self.keys, self.values)]


class Slab:
    """``count`` rows of one model, numbered from 0; a row that leaves is replaced by the last.

    ``cursor`` is the column that the next step writes, ``first`` the oldest row's first column;
    all layers have ``room``, from the column ``begin`` on.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.count = 0
        self.cursor = 0
        self.first = 0
        self.begin = 0
        self.room = room.FIRST
        self._most = BOUNDLESS
        self._positions = takes(model, "position_ids")
        self._short = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
        self._masked = not takes(model, "cache_params")  # Mamba's have no columns to hide
        self._cache_name = "past_key_values" if self._masked else "cache_params"
        self._starts = torch.zeros(self.room[0], dtype=torch.long, device=model.device)
        self._cache = Cache(layers=[self._own(layer) for layer in self.empty().layers])

    @property
    def held(self) -> int:
        """Places that there is room for now."""
        columns = [layer for layer in self._cache.layers if isinstance(layer, _Columns)]
        is_there = any(layer.is_initialized for layer in columns)
        return room.places(self.room) if is_there else 0

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
            self.cursor = length
        start = self.cursor - length
        self._have_room(self.count + 1, min([start, *self._oldest()]))
        for mine, other in zip(self._cache.layers, cache.layers, strict=True):
            if not isinstance(mine, _Columns):
                _append_state(mine, other, first=self.count == 0)
                continue
            if not mine.is_initialized:
                mine.lazy_initialization(other.keys, other.values)
            mine.clear(self.count, start)
            mine.put(self.count, start, other.keys[0], other.values[0])
        self._starts[self.count] = start
        self.count += 1

    def leave(self, row: int) -> None:
        """Free a row; the last one takes its number."""
        last = self.count - 1
        start = int(self._starts[last])
        for layer in self._cache.layers:
            if isinstance(layer, _Columns):
                if row != last:
                    layer.move_row(last, row, slice(start, self.cursor))
                    layer.clear(row, start)
            elif last:
                keep = [*range(row), last, *range(row + 1, last)] if row != last else range(last)
                layer.reorder_cache(torch.tensor(list(keep), device=self._model.device))
        self._starts[row] = self._starts[last]
        self.count = last
        if last == 0:
            self._begin_anew()

    def row(self, at: int) -> tuple[Any, int]:
        """A row's keys and values as a prompt's that was read, and how many tokens they are of: for
        models that keep nothing else."""
        start = int(self._starts[at])
        cache = self.empty()
        for mine, other in zip(self._cache.layers, cache.layers, strict=True):
            fill(other, *mine.taken(at, slice(start, self.cursor)))
        return cache, self.cursor - start

    # Steps

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Write one token of each row; the logits behind them, shape (rows, vocabulary)."""
        starts = self._starts[: self.count]
        self.first = int(starts.min())
        if self.cursor >= self.begin + self.room[1]:
            self._have_room(self.count, self.first)
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

    def keep_within(self, places: int) -> None:
        """Hold no more than so many places from now on; those who join must not need more."""
        self._most = places
        if self.count:
            self._have_room(self.count, *self._oldest())
        else:
            self._begin_anew()

    def _oldest(self) -> list[int]:
        """The oldest row's first column, if there are rows."""
        return [int(self._starts[: self.count].min())] if self.count else []

    def _have_room(self, rows: int, first: int) -> None:
        """For so many rows, from the column ``first`` to the cursor. Room that suffices stays where
        it is, unless it is far more than that."""
        target = room.wanted(rows, self.cursor + 1 - first, self._most)
        suffices = rows <= self.room[0] and self.begin <= first
        suffices = suffices and self.cursor < self.begin + self.room[1]
        is_far_more = room.is_far_more(self.room, target, self._most)
        if not suffices or is_far_more:
            stays = room.covers(self.room, target) and not is_far_more
            self._move(self.room if stays else target, first)

    def _move(self, to: Room, begin: int) -> None:
        """Layer by layer: no more than one is held twice, and where there is no memory for the next
        one, what both those that were moved and those that were not have is there to go on with."""
        starts = self._starts.new_zeros(max(self.room[0], to[0]))
        starts[: self.count] = self._starts[: self.count]
        used = slice(min([self.cursor, *self._oldest()]), self.cursor)
        end = min(self.begin + self.room[1], begin + to[1])
        self._starts, self.begin = starts, max(self.begin, begin)
        self.room = min(self.room[0], to[0]), end - self.begin
        for layer in self._cache.layers:
            if isinstance(layer, _Columns) and layer.is_initialized:
                layer.move(to, begin, self.count, used)
        self.room, self.begin = to, begin

    def _begin_anew(self) -> None:
        """Nobody is here: give back what a long prompt or many rows made it grow to."""
        first, self.cursor, self.begin = room.wanted(1, 1, self._most), 0, 0
        for layer in self._cache.layers:
            if isinstance(layer, _Columns):
                layer.begin = 0
                if self.room != first:
                    layer.forget()
        self.room, self._starts = first, self._starts.new_zeros(first[0])


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


def _from(begin: int, columns: slice) -> slice:
    """Where columns are in tensors that hold those from ``begin`` on."""
    return slice(columns.start - begin, columns.stop - begin)


def _append_state(mine: Any, other: Any, *, first: bool) -> None:
    """One more row of a recurrent layer's states."""
    for name in _STATES:
        have, new = getattr(mine, name), getattr(other, name)
        for index, state in new.items():
            if state is not None:
                # A step writes in place, and other rows of that prompt may join later.
                have[index] = state.clone() if first else torch.cat([have[index], state])
    for name, value in vars(other).items():
        if name not in _STATES:
            setattr(mine, name, value)
