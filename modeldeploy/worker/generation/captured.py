"""A decoder's step on a GPU: what its layers launch, kernel by kernel, is launched as a whole.

A small model's kernels take less time than Python needs to launch them. So the model's forward is
captured once (PyTorch, "CUDA Graphs"), with an attention of ours in place of its own: keys and values
stay where they are, and how many of them a row has is told in a tensor. Sizes are rounded up to a few,
of which each is captured when it first comes; what is more of rows and tokens is computed and thrown
away.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch.nn import functional

from modeldeploy.worker.failures import one_line
from modeldeploy.worker.generation import check, own_attention
from modeldeploy.worker.generation.graph_slab import GraphSlab, difference, looks_back_as_far
from modeldeploy.worker.generation.room import BOUNDLESS, Room
from modeldeploy.worker.generation.slab import Slab, Unfit, fill, takes

log = logging.getLogger(__name__)

# What sizes are rounded up to, as far as there is room.
_ROWS = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64)
_TOKENS = (1, 16, 64, 256, 1024)  # of a prompt at once, or one of each row
_COLUMNS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)

_USUAL_ROWS, _USUAL_PROMPTS = (1, 2, 4, 8), (16, 64, 256)
# By how much memory there is: rooms, and tokens of a prompt that it is worth for. More than 2048 are no
# affair of launches.
_GRAINS: tuple[Room, ...] = ((16, 1024), (8, 512), (4, 256))
_PROMPTS = (2048, 512, 0)
_SHARE = 8  # of the places that these may take
# Largest difference, over the logits' standard deviation.
_TOLERANCE = {torch.float32: 1e-4}
_IN_LESS = 0.2  # as much as company may move it

Run = Callable[[], torch.Tensor]
T = TypeVar("T")


class CapturedStep:
    """As a :class:`~modeldeploy.worker.generation.graph_slab.Step`, of a model on a GPU, where there is memory
    for the keys and values of ``places`` tokens. ``windows`` are how far back its layers look, as far as
    seen; 0 is to the beginning. On a CPU nothing is captured: every call runs the model's forward.

    Raises:
        Unfit: the model keeps more than keys and values, or attends in a way of its own.
    """

    is_captured = is_exact = True

    def __init__(self, model: Any, places: int = BOUNDLESS) -> None:
        self._model = model
        self.shapes = own_attention.shapes(model)
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.windows: set[int] = set()
        self._steps: _Sizes | None = None
        self.grain: Room | None = _fitting(_GRAINS, places, lambda grain: grain[0] * grain[1])
        self._longest = _fitting(_PROMPTS, places, lambda prompt: prompt + _TOKENS[-1])
        self._slow = Slab(model)
        columns = self._longest + _TOKENS[-1]  # with what is read and thrown away
        caches = [
            torch.zeros(1, heads, columns, width, device=self.device, dtype=self.dtype)
            for heads, width in self.shapes
            for _ in range(2)
        ]
        self._stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]  # torch's
        self._prompt = _Sizes(model, caches, self.windows, self._stream)

    def run(
        self, tokens: torch.Tensor, lengths: torch.Tensor, caches: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        if self._steps is None or self._steps.caches is not caches:
            self._steps = _Sizes(self._model, caches, self.windows, self._stream)
        return self._steps.run(tokens, lengths)

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        whole = done + len(ids)
        if whole > self._longest:
            return self._slow.read(cache, ids, done)
        caches = self._prompt.caches
        if done:
            theirs = [one for layer in cache.layers for one in (layer.keys, layer.values)]
            for mine, other in zip(caches, theirs, strict=True):
                mine[:, :, :done] = other
        for begun in range(0, len(ids), _TOKENS[-1]):
            part = torch.tensor([ids[begun : begun + _TOKENS[-1]]])
            logits = self._prompt.run(part, torch.tensor([done + begun]))
        for at, layer in enumerate(cache.layers):
            fill(layer, *(one[:, :, :whole].clone() for one in caches[2 * at : 2 * at + 2]))
        if not logits.isfinite().all():  # a mask would not hide that from shorter prompts
            for one in caches:
                one.zero_()
        return logits[0]

    def release(self) -> None:
        self._steps = None


class _Sizes:
    """The calls of each size on the same keys and values. ``stream`` is what is run on before it is
    captured; without one nothing is."""

    def __init__(
        self,
        model: Any,
        caches: Sequence[torch.Tensor],
        windows: set[int],
        stream: torch.cuda.Stream | None,
    ) -> None:
        self.caches = caches
        self._model, self._windows, self._stream = model, windows, stream
        self._room = [min(one.shape[at] for one in caches) for at in (0, 2)]
        self._calls: dict[tuple[int, int, int], tuple[_Call, Run]] = {}
        self._pool: Any = None

    def run(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        rows, count = tokens.shape
        counted = _up(count, _TOKENS)
        columns = _up(int(lengths.max()) + counted, _COLUMNS, self._room[1])
        size = _up(rows, _ROWS, self._room[0]), counted, columns
        if size in self._calls:
            call, run = self._calls[size]
            call.give(tokens, lengths)
        else:
            call = _Call(self._model, self.caches, size, self._windows)
            call.give(tokens, lengths)
            run = self._captured(call, self._stream) if self._stream else call
            self._calls[size] = call, run
        return run()[:rows].clone()

    def _captured(self, call: _Call, stream: torch.cuda.Stream) -> Run:
        """The call to be made again, in which what it is given is changed in its tensors; or itself, where there
        is no memory to capture it."""
        try:
            with torch.cuda.device(self.caches[0].device):
                return self._replay_of(call, stream)
        except torch.cuda.OutOfMemoryError as error:
            log.warning("a step is not captured: %s", one_line(error))
            torch.cuda.empty_cache()
            return call

    def _replay_of(self, call: _Call, stream: torch.cuda.Stream) -> Run:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call()  # what is made once, such as workspaces, is not to be captured
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            logits = call()
        self._pool = graph.pool()

        def replay() -> torch.Tensor:
            with torch.cuda.device(logits.device):
                graph.replay()
            return logits

        return replay


class _Call:
    """The model's forward of ``size`` (rows, tokens, columns), on tensors that stay where they are."""

    def __init__(
        self,
        model: Any,
        caches: Sequence[torch.Tensor],
        size: tuple[int, int, int],
        windows: set[int],
    ) -> None:
        self._model, self._windows = model, windows
        rows, count, self._columns = size
        self._caches = [one[:rows] for one in caches]
        # Each row's tokens and how many it had before, and the number of the last token that counts.
        self._given = torch.zeros(
            rows * count + rows + 1, dtype=torch.long, device=caches[0].device
        )
        self._tokens = self._given[: rows * count].view(rows, count)
        self._lengths = self._given[rows * count : -1]
        self._last = self._given[-1:]
        self._short = {"logits_to_keep": self._last} if takes(model, "logits_to_keep") else {}
        self._places = self._rows = self._lengths
        self._masks: dict[tuple[int, int], torch.Tensor] = {}
        self._attended = 0

    def give(self, tokens: torch.Tensor, lengths: torch.Tensor) -> None:
        rows, count = tokens.shape
        given = torch.zeros(self._given.shape, dtype=torch.long)
        given[: self._tokens.numel()].view(self._tokens.shape)[:rows, :count] = tokens
        given[self._tokens.numel() :][:rows] = lengths
        given[-1] = count - 1
        self._given.copy_(given)

    def __call__(self) -> torch.Tensor:
        """The logits behind the last token that counts, shape (rows, vocabulary)."""
        rows, count = self._tokens.shape
        device = self._given.device
        self._places = self._lengths[:, None] + torch.arange(count, device=device)
        self._rows = torch.arange(rows, device=device)[:, None]
        self._attended = 0
        # No model has positions for tokens that are thrown away.
        positions = torch.minimum(self._places, self._lengths[:, None] + self._last)
        with own_attention.in_place(self._model, self._attend):
            output = self._model(
                input_ids=self._tokens, position_ids=positions, use_cache=False, **self._short
            )
        self._masks.clear()
        if 2 * self._attended != len(self._caches):
            raise Unfit("its attention is of its own kind")
        logits: torch.Tensor = output.logits
        return logits[:, 0] if self._short else logits.index_select(1, self._last)[:, 0]

    def _attend(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        if s_aux is not None:
            raise Unfit("its attention has sinks")
        caches = self._caches[2 * module.layer_idx : 2 * module.layer_idx + 2]
        for cache, new in zip(caches, (key, value), strict=True):
            cache[self._rows, :, self._places] = new.transpose(1, 2)
        self._attended += 1
        window = own_attention.window(attention_mask, sliding_window)
        self._windows.add(window)
        rows, heads, count, width = query.shape
        # The heads that share keys, one after the other, as so many more tokens of one head.
        shared = query.reshape(rows, key.shape[1], -1, width)
        keys, values = (cache[:, :, : self._columns] for cache in caches)
        mask = self._mask(window, shared.shape[2] // count, query.dtype)
        if softcap:
            scale = width**-0.5 if scaling is None else scaling
            scores = softcap * torch.tanh(shared @ keys.transpose(2, 3) * scale / softcap)
            weights = functional.softmax(scores + mask, dim=-1, dtype=torch.float32)
            output = weights.to(values.dtype) @ values
        else:
            output = functional.scaled_dot_product_attention(
                shared, keys, values, attn_mask=mask, scale=scaling
            )
        return output.reshape(rows, heads, count, width).transpose(1, 2), None

    def _mask(self, window: int, shares: int, dtype: torch.dtype) -> torch.Tensor:
        """What to add to scores, shape (rows, 1, shares * tokens, columns)."""
        if (window, shares) not in self._masks:
            columns = torch.arange(self._columns, device=self._given.device)
            places = self._places[:, :, None]
            hidden = columns > places
            if window:
                hidden |= columns <= places - window
            mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            mask.masked_fill_(hidden, float("-inf"))
            self._masks[window, shares] = mask[:, None].repeat(1, 1, shares, 1)
        return self._masks[window, shares]


def _up(size: int, sizes: Iterable[int], most: int = sys.maxsize) -> int:
    """The first of ``sizes`` that is as large, or ``most``."""
    return next((one for one in sizes if size <= one <= most), most)


def _fitting(choices: Sequence[T], places: int, takes_places: Callable[[T], int]) -> T:
    """The first that takes its share of the places at most, or the last."""
    fit = (one for one in choices if takes_places(one) <= places // _SHARE)
    return next(fit, choices[-1])


def faster_slab(model: Any, places: int, window: int | None) -> tuple[GraphSlab, str]:
    """A slab on which the model's step is captured, in the sizes that most requests need, and what that
    is worth; for so many ``places``, of a model that sees ``window`` tokens.

    Raises:
        Unfit: with one line of why the model's own forward is to be preferred.
    """
    with torch.inference_mode():
        step = CapturedStep(model, places)
        most = _TOLERANCE.get(model.dtype, _IN_LESS)
        apart = difference(model, step, [])
        if not apart <= most:
            raise Unfit(f"its results would differ by {apart:.1e}")
        if not looks_back_as_far(model, step, step.windows, most):
            raise Unfit("its attention would look back too far, or not far enough")
        rows, lengths = max(_USUAL_ROWS), check.within(window, _USUAL_PROMPTS)
        slow, fast = (
            check.seconds(made, rows, lengths[-1]) * 1000
            for made in (lambda: Slab(model), lambda: GraphSlab(model, step))
        )
        if not fast < slow:
            raise Unfit(f"no faster: {fast:.1f} instead of {slow:.1f} ms")
        slab = GraphSlab(model, step)
        for length in reversed(lengths):
            cache = slab.empty()
            slab.read(cache, [1] * length, 0)
        for number in range(1, rows + 1):
            slab.join(cache, length)
            if number in _USUAL_ROWS:
                slab.step([1] * number)
        while slab.count:
            slab.leave(0)
    return slab, f"captured: {fast:.1f} instead of {slow:.1f} ms for {rows} texts"
