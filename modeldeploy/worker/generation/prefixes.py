"""Prompts that were read lately, so that what a new one begins with need not be read again: the
system prompt of a chat, the turns before the last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers.cache_utils import DynamicLayer

from modeldeploy.worker.generation.slab import fill

LEAST = 32  # tokens; fewer are read as fast as they are looked up
MOST_PROMPTS = 32

Ids = npt.NDArray[np.int64]


class Prefixes:
    """Keeps the caches of prompts, of a long one that of its first half of ``most_bytes``, which is what
    they take together at most (now: ``bytes``); the one that was of no use for the longest goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.bytes = 0
        self._kept: OrderedDict[bytes, tuple[Ids, Any, int]] = OrderedDict()

    def start(self, ids: list[int], empty: Callable[[], Any]) -> tuple[Any, int]:
        """A cache to read a prompt into, and how many of its tokens are in it already. One token
        is always left: the logits behind it are what the reading is for."""
        given, cache = np.asarray(ids), empty()
        best, key = 0, b""
        for one, (kept, _, _) in self._kept.items():
            length = _common(given, kept)
            if length > best:
                best, key = length, one
        best = min(best, len(ids) - 1)
        if best < LEAST:
            return cache, 0
        self._kept.move_to_end(key)
        for mine, other in zip(cache.layers, self._kept[key][1].layers, strict=True):
            # Views: a layer that grows makes tensors of its own.
            fill(mine, other.keys[:, :, :best], other.values[:, :, :best])
        return cache, best

    def keep(self, ids: list[int], cache: Any, empty: Callable[[], Any]) -> None:
        """A prompt that was read into ``cache``, which nobody writes to any more."""
        if len(ids) < LEAST or not all(type(one) is DynamicLayer for one in cache.layers):
            return  # a recurrent state is of the whole prompt, and of no part of it
        size = sum(one.keys.nbytes + one.values.nbytes for one in cache.layers)
        length = min(len(ids), len(ids) * (self._most_bytes // 2) // max(1, size))
        if length < LEAST:
            return
        given = np.asarray(ids[:length])
        key = given.tobytes()
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        if length < len(ids):
            cache, size = _begun(cache, length, empty()), size * length // len(ids)
        self._kept[key] = (given, cache, size)
        self.bytes += size
        while self.bytes > self._most_bytes or len(self._kept) > MOST_PROMPTS:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if key in self._kept:
            self.bytes -= self._kept.pop(key)[2]


def _begun(cache: Any, length: int, empty: Any) -> Any:
    """A copy of what a cache has of its first tokens."""
    for mine, other in zip(empty.layers, cache.layers, strict=True):
        fill(mine, other.keys[:, :, :length].clone(), other.values[:, :, :length].clone())
    return empty


def _common(one: Ids, other: Ids) -> int:
    """How many ids both begin with."""
    length = min(len(one), len(other))
    apart = np.flatnonzero(one[:length] != other[:length])
    return int(apart[0]) if len(apart) else length
