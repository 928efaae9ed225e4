"""Which of what waits shares the next call of a model.

Items with the same key, of about the same size (padding is paid in full on a CPU), of as many requests
as there are: of each one, then of each the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.front import Ticket

# For one call, however many wait, or as many as it may have where that is more:
_REACH = 2048  # items that are looked at
_LOOK_AHEAD = 256  # those of them that could be in it

Chosen = tuple[Ticket, int]


def leads(queue: Iterable[Ticket]) -> Iterator[Item]:
    """The first item in the queue, and of each other key the first: while one waits for company
    another's call may be full."""
    keys = set()
    for ticket in islice(queue, _REACH):
        item = ticket.items[ticket.first]
        if item.key not in keys:
            keys.add(item.key)
            yield item


def company(queue: Iterable[Ticket], lead: Item, limits: BatchLimits) -> tuple[list[Chosen], bool]:
    """``lead`` and those that cost least beside it, and whether there is no room for more."""
    most = lead.size if limits.equal else math.inf
    in_reach = islice(_in_turn(queue, most), max(_REACH, limits.items))
    fitting = (
        (ticket, index)
        for ticket, index, one in in_reach
        if one.key == lead.key and (one.size == lead.size or not limits.equal)
    )
    candidates = list(islice(fitting, max(_LOOK_AHEAD, limits.items)))
    if limits.padded:
        candidates.sort(key=lambda one: abs(one[0].items[one[1]].size - lead.size))
    return _within(limits, candidates)


def shared(limits: BatchLimits, queue: Iterable[Ticket], takers: int) -> BatchLimits:
    """The limits with which one of so many takes no more than its share of what waits."""
    waiting, enough = 0, takers * limits.items
    for ticket in queue:
        waiting += len(ticket.waiting)
        if waiting >= enough:
            return limits
    return replace(limits, items=max(1, -(-waiting // takers)))


def _in_turn(queue: Iterable[Ticket], most: float) -> Iterator[tuple[Ticket, int, Item]]:
    """Of each request one item, then of each the next, as long as they, which grow, are no larger than
    ``most``."""
    lines: Iterable[tuple[Ticket, Iterator[int]]]
    lines = ((ticket, iter(ticket.waiting)) for ticket in queue)
    while lines:
        left = []
        for ticket, waiting in lines:
            for index in waiting:
                one = ticket.items[index]
                if one.size <= most:
                    yield ticket, index, one
                    left.append((ticket, waiting))
                break
        lines = left


def _within(limits: BatchLimits, candidates: list[Chosen]) -> tuple[list[Chosen], bool]:
    """Those of them that there is room for; without padding past those that are too large for what is left:
    each of these leads a call of its own once it is the first."""
    chosen: list[Chosen] = []
    largest = total = 0
    for ticket, index in candidates:
        size = ticket.items[index].size
        wider = max(largest, size)
        cost = wider * (len(chosen) + 1) if limits.padded else total + size
        if chosen and cost > limits.size:
            if limits.padded:  # they are sorted: who comes next is even less alike
                break
            continue
        chosen.append((ticket, index))
        largest, total = wider, total + size
        if len(chosen) >= limits.items or cost >= limits.size:
            return chosen, True
    return chosen, len(chosen) < len(candidates)
