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
from modeldeploy.worker.generation.slab import Slab, empty_cache, fill

FEW = 24  # tokens of a text that a graph of rounded weights is tried on when it is opened
_LONGEST_TRIED = 4096  # tokens


class Step(Protocol):
    """A model's step on keys and values that stay where they are, in tensors of ``device`` and ``dtype``.
    ``shapes`` are heads and width of the keys, and of the values, of each layer; ``grain`` is what room
    for them is best a multiple of."""

    shapes: list[tuple[int, int]]
    device: torch.device
    dtype: torch.dtype
    grain: Room | None

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
        # Many tokens at once are no faster on rounded weights, and torch's are not rounded.
        self._reader: Slab | Step = graph if graph.is_exact else Slab(model)
        self.count = 0
        self._room: Room = (0, 0)
        self._most = BOUNDLESS
        self._lengths = torch.empty(0, dtype=torch.long)
        self._caches: list[torch.Tensor] = []
        self._begin_anew()

    def empty(self) -> Any:
        """A cache for one prompt."""
        return empty_cache(self._config)

    # Prompts

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        """Read the next tokens of a prompt, of which ``done`` are in ``cache``; the logits behind
        the last, shape (vocabulary)."""
        return self._reader.read(cache, ids, done)

    def join(self, cache: Any, length: int) -> None:
        """A new last row, of a prompt of ``length`` tokens that was read into ``cache``."""
        self._have_room(self.count + 1, max(length, self._longest()) + 1)
        for at, layer in enumerate(cache.layers):
            for mine, other in zip(
                self._caches[2 * at :], (layer.keys, layer.values), strict=False
            ):
                mine[self.count, :, :length] = other[0]
        self._lengths[self.count] = length
        self.count += 1

    def leave(self, row: int) -> None:
        """Free a row; the last one takes its number."""
        last = self.count - 1
        if row != last:
            length = int(self._lengths[last])
            for one in self._caches:
                one[row, :, :length] = one[last, :, :length]
            self._lengths[row] = length
        self.count = last
        if last == 0:
            self._begin_anew()

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
            self._begin_anew()

    def _longest(self) -> int:
        return int(self._lengths[: self.count].max()) if self.count else 0

    def _have_room(self, rows: int, columns: int) -> None:
        """For so many, unless it is far more than that."""
        target = room.wanted(rows, columns, self._most, self._graph.grain)
        suffices = room.covers(self._room, (rows, columns))
        if not suffices or room.is_far_more(self._room, target, self._most):
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

    def _begin_anew(self) -> None:
        """Nobody is here: give back what a long prompt or many rows made it grow to."""
        first = room.wanted(1, 1, self._most, self._graph.grain)
        if self._room == first:
            return
        self._room = first
        rows, columns = first
        self._lengths = torch.zeros(rows, dtype=torch.long)
        self._graph.release()
        self._caches = []
        device, dtype = self._graph.device, self._graph.dtype
        self._caches = [
            torch.zeros(rows, heads, columns, width, device=device, dtype=dtype)
            for heads, width in self._graph.shapes
            for _ in range(2)
        ]


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
        cache = slab.empty()
        found = [slab.read(cache, [ids[0]], 0)]
        slab.join(cache, 1)
        found += [slab.step([token])[0] for token in ids[1:]]
        graph.release()
        return rounding.nats(expected, torch.stack(found))


def allowed(graph: Step) -> float:
    """The largest difference with which a graph is used."""
    return EQUAL if graph.is_exact else rounding.MOST


def looks_back_as_far(model: Any, graph: Step, windows: set[int], most: float = EQUAL) -> bool:
    """Whether the graph equals the model behind the end of each of its windows, as far as that can be
    tried."""
    size = int(model.config.get_text_config().vocab_size)
    with torch.inference_mode():
        for window in windows - {0}:
            if window > _LONGEST_TRIED:
                continue
            ids = [(7 * at + 3) % size for at in range(window + 2)]
            one, other = (
                slab.read(slab.empty(), ids, 0) for slab in (Slab(model), GraphSlab(model, graph))
            )
            if not gap([one], [other]) <= most:
                return False
    return True
