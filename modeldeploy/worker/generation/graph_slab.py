"""The keys and values of all rows for a step that is run as a whole: a graph's.

Each layer has two tensors (rows, heads, columns, width). Rows are left-aligned, each as long as it
is: the graph's attention reads no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from modeldeploy.worker.compute.likeness import EQUAL, gap
from modeldeploy.worker.generation import check, room, rounding
from modeldeploy.worker.generation.room import BOUNDLESS, Room
from modeldeploy.worker.generation.slab import Running, Slab, empty_cache, fill

FEW = 24  # tokens of a text that a graph of rounded weights is tried on when it is opened
_LONGEST_TRIED = 4096  # tokens


class Step(Protocol):
    """A model's step on keys and values that stay where they are, in tensors of ``device`` and ``dtype``.
    ``shapes`` are heads and width of the keys, and of the values, of each layer; ``grain`` is what room
    for them is best a multiple of. Where its calls ``is_captured`` on these very tensors, and a mask hides what is
    behind a row's end, room is best kept, and what is hidden must be numbers."""

    shapes: list[tuple[int, int]]
    device: torch.device
    dtype: torch.dtype
    grain: Room | None
    is_captured: bool

    @property
    def is_exact(self) -> bool:
        """Whether it gives what the model gives."""

    def run(
        self, tokens: torch.Tensor, lengths: torch.Tensor, caches: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The logits behind the last of ``tokens`` (rows, count), shape (rows, vocabulary).

        Args:
            lengths: how many tokens each row had before, (rows).
            caches: the layers' keys and values in turn, each (rows or more, heads, columns, width) and
                contiguous; those of ``tokens`` are written behind the row's.
        """

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        """Read the next tokens of a prompt, of which ``done`` are in ``cache``; the logits behind
        the last, shape (vocabulary)."""

    def release(self) -> None:
        """Hold on to no caches: nothing runs on those of the last call any more."""


class GraphSlab:
    """As :class:`~modeldeploy.worker.generation.slab.Slab`, with ``graph`` for the model's step."""

    def __init__(self, model: Any, graph: Step) -> None:
        self._config = model.config
        self._graph = graph
        self.count = 0
        self._room: Room = (0, 0)
        self._most = BOUNDLESS
        self._lengths = torch.empty(0, dtype=torch.long)
        self._caches = [
            torch.empty(0, heads, 0, width, device=graph.device, dtype=graph.dtype)
            for heads, width in graph.shapes
            for _ in range(2)
        ]

    @property
    def held(self) -> int:
        """Places that there is room for now."""
        return room.places(self._room)

    def empty(self) -> Any:
        """A cache for one prompt."""
        return empty_cache(self._config)

    # Prompts

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        """Read the next tokens of a prompt, of which ``done`` are in ``cache``; the logits behind
        the last, shape (vocabulary)."""
        return self._graph.read(cache, ids, done)

    def join(self, cache: Any, length: int) -> None:
        """A new last row, of a prompt of ``length`` tokens that was read into ``cache``."""
        self._have_room(self.count + 1, max(length, self._longest()) + 1)
        theirs = [one for layer in cache.layers for one in (layer.keys, layer.values)]
        for mine, other in zip(self._caches, theirs, strict=True):
            mine[self.count, :, :length] = other[0]
        self._lengths[self.count] = length
        self.count += 1

    def leave(self, row: int) -> None:
        """Free a row; the last one takes its number."""
        last = self.count - 1
        self._clear(row)
        if row != last:
            length = int(self._lengths[last])
            for one in self._caches:
                one[row, :, :length] = one[last, :, :length]
            self._lengths[row] = length
            self._clear(last)
        self.count = last
        if last == 0:
            self._give_back()

    def row(self, at: int) -> tuple[Any, int]:
        """A row's keys and values as a prompt's that was read, and how many tokens they are of."""
        cache, length = self.empty(), int(self._lengths[at])
        for number, layer in enumerate(cache.layers):
            mine = self._caches[2 * number : 2 * number + 2]
            fill(layer, *(one[at : at + 1, :, :length] for one in mine))
        return cache, length

    # Steps

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Write one token of each row; the logits behind them, shape (rows, vocabulary)."""
        if (longest := self._longest()) >= self._room[1]:
            self._have_room(self.count, longest + 1)
        lengths = self._lengths[: self.count]
        logits = self._graph.run(torch.tensor(tokens)[:, None], lengths, self._caches)
        lengths += 1
        return logits

    # Room

    def keep_within(self, places: int) -> None:
        """Hold no more than so many places from now on; those who join must not need more."""
        self._most = places
        if self.count:
            self._have_room(self.count, self._longest() + 1)
        else:
            self._give_back()

    def _longest(self) -> int:
        return int(self._lengths[: self.count].max()) if self.count else 0

    def _have_room(self, rows: int, columns: int) -> None:
        """For so many, unless it is far more than that."""
        target = room.wanted(rows, columns, self._most, self._graph.grain)
        suffices = room.covers(self._room, (rows, columns))
        is_far_more = room.is_far_more(self._room, target, self._most)
        if not suffices or (is_far_more and not self._keeps_room):
            self._move(target)

    def _move(self, to: Room) -> None:
        """Tensor by tensor: no more than one is held twice, and where there is no memory for the next
        one, what both those that were moved and those that were not have is there to go on with."""
        longest, count = self._longest(), self.count
        lengths = self._lengths.new_zeros(max(self._room[0], to[0]))
        lengths[:count] = self._lengths[:count]
        self._lengths, self._room = lengths, room.both(self._room, to)
        self._graph.release()
        for at, old in enumerate(self._caches):
            new = old.new_zeros(to[0], old.shape[1], to[1], old.shape[3])
            new[:count, :, :longest] = old[:count, :, :longest]
            self._caches[at] = new
        self._room = to

    def _give_back(self) -> None:
        """Nobody is here: what a long prompt or many rows made it grow to. Allocates nothing."""
        first = room.wanted(1, 1, self._most, self._graph.grain)
        if self._room != first and not self._keeps_room:
            self._graph.release()
            self._caches = [one.new_empty(0, one.shape[1], 0, one.shape[3]) for one in self._caches]
            self._room = (0, 0)

    @property
    def _keeps_room(self) -> bool:
        """Though less would do: what is captured goes with it."""
        return self._graph.is_captured and self.held <= self._most

    def _clear(self, row: int) -> None:
        if self._graph.is_captured:
            for one in self._caches:
                one[row].zero_()


def difference(model: Any, graph: Step, ids: Sequence[int]) -> float:
    """How far the graph's logits are from the model's own: of rows among others, over their standard
    deviation; in a lower precision in nats a token, of the text of which ``ids`` are the tokens."""
    with torch.inference_mode():
        slab = GraphSlab(model, graph)
        if graph.is_exact:
            found_apart = check.distance(model, Slab(model), slab)
            graph.release()
            return found_apart
        expected = model(torch.tensor([ids]), use_cache=False).logits[0]
        cache, half = slab.empty(), len(ids) // 2
        found = [slab.read(cache, list(ids[:half]), 0)]
        slab.join(cache, half)
        found += [slab.step([token])[0] for token in ids[half:]]
        graph.release()
        return rounding.nats(expected[half - 1 :], torch.stack(found))


def allowed(graph: Step) -> float:
    """The largest difference with which a graph is used."""
    return EQUAL if graph.is_exact else rounding.MOST


def looks_back_as_far(model: Any, graph: Step, windows: set[int], most: float = EQUAL) -> bool:
    """Whether the graph equals the model behind the end of each of its windows, reading and writing, as
    far as that can be tried."""
    size = int(model.config.get_text_config().vocab_size)

    def found(slab: Running, ids: list[int]) -> torch.Tensor:
        cache = slab.empty()
        read = slab.read(cache, ids, 0)
        slab.join(cache, len(ids))
        return torch.stack([read, *(slab.step([token])[0] for token in ids[:2])])

    with torch.inference_mode():
        for window in windows - {0}:
            if window > _LONGEST_TRIED:
                continue
            ids = [(7 * at + 3) % size for at in range(window + 1)]
            one, other = (found(slab, ids) for slab in (Slab(model), GraphSlab(model, graph)))
            if not gap([one], [other]) <= most:
                return False
    return True
